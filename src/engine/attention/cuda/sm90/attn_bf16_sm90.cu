/* attn_bf16_sm90.cu: frame-sparse attention in bf16 on Hopper; the card is in attn_sm90.cuh. */
#include "attn_sm90.cuh"

const char *lv_attn_bf16_sm90(const lvsa_attention *call, const void *tiles)
{
    return attn_sm90::run<__nv_bfloat16>(call, tiles);
}
