/* exp2.h: 2^f for f in [-1/2, 1/2] by the least-maximum polynomial of degree 5 that is exact at 0;
 * relative error in fp32 under 1.6e-7. The includer has vec, v_set1 and v_fma. */
#ifndef LV_ENGINE_ATTENTION_CPU_EXP2_H
#define LV_ENGINE_ATTENTION_CPU_EXP2_H

static inline vec exp2_poly(vec f)
{
    vec sum = v_set1(0x1.5bba14p-10f);
    sum = v_fma(sum, f, v_set1(0x1.3cea88p-7f));
    sum = v_fma(sum, f, v_set1(0x1.c6b752p-5f));
    sum = v_fma(sum, f, v_set1(0x1.ebf9bcp-3f));
    sum = v_fma(sum, f, v_set1(0x1.62e42ap-1f));
    return v_fma(sum, f, v_set1(1.0f));
}

#endif
