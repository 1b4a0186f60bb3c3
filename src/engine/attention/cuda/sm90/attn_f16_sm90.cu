/* attn_f16_sm90.cu: frame-sparse attention in f16 on Hopper; the card is in attn_sm90.cuh. */
#include "attn_sm90.cuh"

const char *lv_attn_f16_sm90(const lvsa_attention *call, const void *tiles)
{
    return attn_sm90::run<__half>(call, tiles);
}
