/* warp.cuh: what a warp of the attention kernel for every card does with a tile, in registers; the
 * card is in attn_sm80.cu.
 *
 * A warp has atoms of 16 rows. Of an atom a lane holds rows l/4 (half 0) and l/4 + 8 (half 1), and
 * of 8 columns the pair 2(l%4). In shared memory rows are D * 2 bytes, in chunks of 16 bytes; chunk
 * c of row r lies at c ^ (r & 7), so that eight rows of one chunk meet no bank twice. */
#pragma once
#include "common.cuh"

namespace attn_sm80 {

template <int D> __device__ __forceinline__ uint32_t place(int row, int chunk)
{
    return (uint32_t)(row * D * 2 + ((chunk ^ (row & 7)) << 4));
}

/* Of each row: the maximum that its weights are taken from, times scale, and their sum so far (this
 * lane's columns). */
template <int D> struct State {
    float o[kAtoms<D>][D / 8][4];
    float most[kAtoms<D>][2], sum[kAtoms<D>][2];
};

template <int D> __device__ __forceinline__ void clear(State<D> &s)
{
#pragma unroll
    for (int m = 0; m < kAtoms<D>; m++) {
#pragma unroll
        for (int j = 0; j < D / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) s.o[m][j][i] = 0.f;
        s.most[m][0] = s.most[m][1] = -INFINITY;
        s.sum[m][0] = s.sum[m][1] = 0.f;
    }
}

/* x = Q K^T; q: the warp's rows, k: the tile, in shared memory. */
template <class T, int D, int kKeys>
__device__ __forceinline__ void score(float (&x)[kAtoms<D>][kKeys / 8][4], uint32_t q, uint32_t k)
{
    const int lane = threadIdx.x & 31;
    /* Row and low bit of the chunk of this lane; the chunk's other bits are the loop's. */
    const uint32_t q_at = q + place<D>(lane & 15, lane >> 4),
                   k_at = k + place<D>((lane & 7) + (lane >> 4) * 8, lane >> 3 & 1);
#pragma unroll
    for (int m = 0; m < kAtoms<D>; m++)
#pragma unroll
        for (int j = 0; j < kKeys / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) x[m][j][i] = 0.f;
#pragma unroll
    for (int d = 0; d < D / 16; d++) {
        uint32_t a[kAtoms<D>][4];
#pragma unroll
        for (int m = 0; m < kAtoms<D>; m++) load_4(a[m], (q_at ^ (d << 5)) + m * 16 * D * 2);
#pragma unroll
        for (int j = 0; j < kKeys / 16; j++) {
            uint32_t b[4];
            load_4(b, (k_at ^ (d << 5)) + j * 16 * D * 2);
#pragma unroll
            for (int m = 0; m < kAtoms<D>; m++) {
                multiply<T>(x[m][2 * j], a[m], b[0], b[1]);
                multiply<T>(x[m][2 * j + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* A tile that is not full, not for all of the warp's rows, or whose last key counts several times:
 * row by row, what isn't attended to becomes -inf. */
template <int D, int kKeys>
__device__ __forceinline__ void cut(float (&x)[kAtoms<D>][kKeys / 8][4], int valid, float more,
                                    const bool (&attend)[kAtoms<D>][2])
{
    const int pair = (threadIdx.x & 3) * 2;
#pragma unroll
    for (int m = 0; m < kAtoms<D>; m++)
#pragma unroll
        for (int j = 0; j < kKeys / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int key = j * 8 + pair + (i & 1);
                if (key == valid - 1) x[m][j][i] += more;
                if (key >= valid || !attend[m][i >> 1]) x[m][j][i] = -INFINITY;
            }
}

/* Scores to weights, in place. A row's base is raised, and O and the sums shrink, where a weight
 * would be over 256 or more than all of this lane's before it: seldom after the first tiles, and a
 * weight that outweighs the others is exactly 1, however the type rounds. */
template <int D, int kKeys>
__device__ __forceinline__ void weigh(State<D> &s, float (&x)[kAtoms<D>][kKeys / 8][4], float scale)
{
    float most[kAtoms<D>][2];
    bool up = false;
#pragma unroll
    for (int m = 0; m < kAtoms<D>; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float y = fmaxf(x[m][0][2 * h], x[m][0][2 * h + 1]);
#pragma unroll
            for (int j = 1; j < kKeys / 8; j++)
                y = fmaxf(y, fmaxf(x[m][j][2 * h], x[m][j][2 * h + 1]));
            most[m][h] = y * scale;
            const float slack = fminf(fmaxf(log2_approx(s.sum[m][h]), 0.f), 8.f);
            up |= most[m][h] > s.most[m][h] + slack;
        }
    if (__any_sync(~0u, up)) {
#pragma unroll
        for (int m = 0; m < kAtoms<D>; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float y = most[m][h];
                y = fmaxf(y, __shfl_xor_sync(~0u, y, 1));
                y = fmaxf(y, __shfl_xor_sync(~0u, y, 2));
                y = fmaxf(y, s.most[m][h]);
                const float factor = y == -INFINITY ? 1.f : exp2_approx(s.most[m][h] - y);
                s.most[m][h] = y;
                s.sum[m][h] *= factor;
#pragma unroll
                for (int j = 0; j < D / 8; j++) {
                    s.o[m][j][2 * h] *= factor;
                    s.o[m][j][2 * h + 1] *= factor;
                }
            }
    }
#pragma unroll
    for (int m = 0; m < kAtoms<D>; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float base = s.most[m][h] == -INFINITY ? 0.f : s.most[m][h];
#pragma unroll
            for (int j = 0; j < kKeys / 8; j++)
#pragma unroll
                for (int i = 2 * h; i < 2 * h + 2; i++) {
                    x[m][j][i] = exp2_approx(fmaf(x[m][j][i], scale, -base));
                    s.sum[m][h] += x[m][j][i];
                }
        }
}

/* O += P V. kAll: for all of the warp's rows; else the others keep O, whatever V holds. */
template <class T, int D, int kKeys, bool kAll>
__device__ __forceinline__ void gather(State<D> &s, const float (&x)[kAtoms<D>][kKeys / 8][4],
                                       uint32_t v, const bool (&attend)[kAtoms<D>][2])
{
    const int lane = threadIdx.x & 31;
    const uint32_t v_at = v + place<D>(lane & 15, lane >> 4);
    uint32_t p[kAtoms<D>][kKeys / 16][4];
#pragma unroll
    for (int m = 0; m < kAtoms<D>; m++)
#pragma unroll
        for (int k = 0; k < kKeys / 16; k++) {
            p[m][k][0] = pack<T>(x[m][2 * k][0], x[m][2 * k][1]);
            p[m][k][1] = pack<T>(x[m][2 * k][2], x[m][2 * k][3]);
            p[m][k][2] = pack<T>(x[m][2 * k + 1][0], x[m][2 * k + 1][1]);
            p[m][k][3] = pack<T>(x[m][2 * k + 1][2], x[m][2 * k + 1][3]);
        }
    if constexpr (kAll) {
#pragma unroll
        for (int k = 0; k < kKeys / 16; k++)
#pragma unroll
            for (int j = 0; j < D / 16; j++) {
                uint32_t b[4];
                load_4_turned(b, (v_at ^ (j << 5)) + k * 16 * D * 2);
#pragma unroll
                for (int m = 0; m < kAtoms<D>; m++) {
                    multiply<T>(s.o[m][2 * j], p[m][k], b[0], b[1]);
                    multiply<T>(s.o[m][2 * j + 1], p[m][k], b[2], b[3]);
                }
            }
    } else {
#pragma unroll
        for (int j = 0; j < D / 16; j++) {
            float sum[kAtoms<D>][2][4] = {};
#pragma unroll
            for (int k = 0; k < kKeys / 16; k++) {
                uint32_t b[4];
                load_4_turned(b, (v_at ^ (j << 5)) + k * 16 * D * 2);
#pragma unroll
                for (int m = 0; m < kAtoms<D>; m++) {
                    multiply<T>(sum[m][0], p[m][k], b[0], b[1]);
                    multiply<T>(sum[m][1], p[m][k], b[2], b[3]);
                }
            }
#pragma unroll
            for (int m = 0; m < kAtoms<D>; m++)
#pragma unroll
                for (int side = 0; side < 2; side++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        if (attend[m][i >> 1]) s.o[m][2 * j + side][i] += sum[m][side][i];
        }
    }
}

} /* namespace attn_sm80 */
