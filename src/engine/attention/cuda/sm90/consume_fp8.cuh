/* consume_fp8.cuh: the consumer warpgroups of the attention in fp8; see attn_fp8_sm90.cu. The loop
 * is the bf16 kernel's (consume.cuh), where its order is explained. */
#pragma once
#include "common_fp8.cuh"
#include "quantise_fp8.cuh"
#include "wgmma_fp8.cuh"

namespace attn_fp8 {

/* Weights are 2^kLift times larger than their definition, the largest 445: e4m3 ends at 448, and so
 * what is 2^-15 of the largest still counts. */
constexpr float kLift = 8.8f;

/* See attn_sm90::free_stage(). */
__device__ __forceinline__ void free_stage(uint64_t *bar, int tid, int rank)
{
    if ((tid & 31) == 0) ptx::bar_arrive(ptx::addr(bar));
    if (tid == 0) ptx::bar_arrive_at(ptx::addr(bar), rank ^ 1);
}

template <bool kEmpty> __device__ __forceinline__ float base(float m)
{
    return kEmpty && m == -INFINITY ? 0.f : m;
}

/* The maxima with these scores, and what that makes of the sums so far. scale: of the two rows. */
template <bool kEmpty, int kCount>
__device__ __forceinline__ void raise(const float (&x)[kCount], Rows &r, const float (&scale)[2])
{
    float y0 = x[0], y1 = x[2], z0 = x[1], z1 = x[3];
#pragma unroll
    for (int j = 1; j < kCount / 4; j++) {
        y0 = fmaxf(y0, x[j * 4]);
        z0 = fmaxf(z0, x[j * 4 + 1]);
        y1 = fmaxf(y1, x[j * 4 + 2]);
        z1 = fmaxf(z1, x[j * 4 + 3]);
    }
    y0 = fmaxf(y0, z0);
    y1 = fmaxf(y1, z1);
    y0 = fmaxf(y0, __shfl_xor_sync(~0u, y0, 1));
    y1 = fmaxf(y1, __shfl_xor_sync(~0u, y1, 1));
    y0 = fmaxf(y0, __shfl_xor_sync(~0u, y0, 2));
    y1 = fmaxf(y1, __shfl_xor_sync(~0u, y1, 2));
    y0 = fmaxf(r.m0, y0 * scale[0]);
    y1 = fmaxf(r.m1, y1 * scale[1]);
    r.a0 = ptx::exp2_approx(r.m0 - base<kEmpty>(y0)); /* exactly 1 where the maximum stays */
    r.a1 = ptx::exp2_approx(r.m1 - base<kEmpty>(y1));
    r.m0 = y0;
    r.m1 = y1;
}

/* Scores to weights in e4m3, four a word, as the product wants them: of a unit's 32 keys, words 0
 * and 1 are the first 16 of rows r and r + 8, 2 and 3 the others. */
template <bool kEmpty, int kCount>
__device__ __forceinline__ void weigh(uint32_t (&p)[kCount / 4], const float (&x)[kCount],
                                      const Rows &r, const float (&scale)[2])
{
    const float n[2] = {base<kEmpty>(r.m0) - kLift, base<kEmpty>(r.m1) - kLift};
#pragma unroll
    for (int i = 0; i < kCount / 4; i++) {
        const int half = i & 1, from = i / 2 * 8 + half * 2;
        float w[4];
#pragma unroll
        for (int e = 0; e < 4; e++)
            w[e] = ptx::exp2_approx(fmaf(x[from + e / 2 * 4 + (e & 1)], scale[half], -n[half]));
        p[i] = pack_e4m3(w[0], w[1], w[2], w[3]);
    }
}

/* The second level of the sums: what the tensor cores have added up, with 14 bits or less at each
 * step, goes to sums in fp32, in shared memory, a column of 16-byte words a thread. */
struct Level {
    float m0, m1; /* the maxima that they are relative to */
    int tiles;    /* since then                           */
    uint32_t at;  /* the thread's first word              */
};
constexpr int kLevelStep = 128 * kGroups * 16; /* bytes to its next one */

__device__ __forceinline__ void level_start(Level &l)
{
#pragma unroll
    for (int i = 0; i < kSums / 4; i++) ptx::shared_zero16(l.at + i * kLevelStep);
    l.m0 = l.m1 = -INFINITY;
    l.tiles = 0;
}

/* O times a goes there. */
__device__ __forceinline__ void level_add(Level &l, float (&o)[kSums], const Rows &r)
{
    const float f0 = ptx::exp2_approx(l.m0 - base<true>(r.m0)),
                f1 = ptx::exp2_approx(l.m1 - base<true>(r.m1));
#pragma unroll
    for (int i = 0; i < kSums / 4; i++) {
        float4 y = ptx::shared_load4(l.at + i * kLevelStep);
        y.x = fmaf(o[4 * i], r.a0, y.x * f0);
        y.y = fmaf(o[4 * i + 1], r.a0, y.y * f0);
        y.z = fmaf(o[4 * i + 2], r.a1, y.z * f1);
        y.w = fmaf(o[4 * i + 3], r.a1, y.w * f1);
        ptx::shared_store4(l.at + i * kLevelStep, y);
        o[4 * i] = o[4 * i + 1] = o[4 * i + 2] = o[4 * i + 3] = 0.f;
    }
    l.m0 = r.m0;
    l.m1 = r.m1;
    l.tiles = 0;
}

/* O becomes the sum of both levels. */
__device__ __forceinline__ void level_end(const Level &l, float (&o)[kSums], const Rows &r)
{
    const float f0 = ptx::exp2_approx(l.m0 - base<true>(r.m0)),
                f1 = ptx::exp2_approx(l.m1 - base<true>(r.m1));
#pragma unroll
    for (int i = 0; i < kSums / 4; i++) {
        const float4 y = ptx::shared_load4(l.at + i * kLevelStep);
        o[4 * i] = fmaf(y.x, f0, o[4 * i]);
        o[4 * i + 1] = fmaf(y.y, f0, o[4 * i + 1]);
        o[4 * i + 2] = fmaf(y.z, f1, o[4 * i + 2]);
        o[4 * i + 3] = fmaf(y.w, f1, o[4 * i + 3]);
    }
}

/* O / l and the log-sum to memory: rows row0 and row0 + 8 of the sequence. */
__device__ __forceinline__ void store(const Args &a, const Item &it, int row0, float (&o)[kSums],
                                      const Rows &r, const float (&shift)[2])
{
    const int quad = threadIdx.x & 3;
    float sum[2] = {o[64] + o[65], o[66] + o[67]}; /* of the keys of eighths */
#pragma unroll
    for (int i = 0; i < 2; i++) {
        sum[i] += __shfl_xor_sync(~0u, sum[i], 1);
        sum[i] += __shfl_xor_sync(~0u, sum[i], 2);
    }
    const int64_t head = ((int64_t)it.batch * a.heads + it.head) / a.group;
    if (a.lse && quad == 0) {
        float *lse = a.lse + ((int64_t)it.batch * a.heads + it.head) * a.rows;
        if (row0 < a.rows) lse[row0] = (r.m0 + shift[0] - kLift + __log2f(sum[0])) * 0.69314718f;
        if (row0 + 8 < a.rows)
            lse[row0 + 8] = (r.m1 + shift[1] - kLift + __log2f(sum[1])) * 0.69314718f;
    }
    __nv_bfloat16 *out = a.out + it.batch * a.out_batch + it.head * a.out_head + quad * 8;
    const float2 *mean = reinterpret_cast<const float2 *>(a.v_means + head * LV_FP8_DIM) + quad;
    const float2 *scale = reinterpret_cast<const float2 *>(a.v_scales + head * LV_FP8_DIM) + quad;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = row0 + 8 * half;
        const bool any = sum[half] != 0.f;
        const float f = any ? 1.f / sum[half] : 0.f;
#pragma unroll
        for (int g = 0; g < LV_FP8_DIM / 32; g++) { /* 32 columns */
            uint32_t y[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int i = (g * 4 + j) * 4 + half * 2;
                const float2 m = __ldg(mean + (g * 4 + j) * 4), c = __ldg(scale + (g * 4 + j) * 4);
                y[j] = attn_sm90::pack<__nv_bfloat16>(any ? fmaf(o[i] * f, c.x, m.x) : 0.f,
                                                      any ? fmaf(o[i + 1] * f, c.y, m.y) : 0.f);
            }
            attn_sm90::transpose4(y, quad);
            if (row < a.rows)
                *reinterpret_cast<uint4 *>(out + row * a.out_token + g * 32) =
                    make_uint4(y[0], y[1], y[2], y[3]);
        }
    }
}

/* Row r of these keeps what it is where in0, row r + 8 where in1; otherwise it becomes `other`. */
template <int kCount, class Other>
__device__ __forceinline__ void keep_rows(float (&x)[kCount], bool in0, bool in1, Other other)
{
#pragma unroll
    for (int i = 0; i < kCount; i++)
        if (!(i & 2 ? in1 : in0)) x[i] = other(i);
}

__device__ __forceinline__ void consume(const Args &a, Shared &s, int rank, int first, int step)
{
    const int total = a.n_blocks * a.heads * a.batch;
    const int c = (int)uniform(threadIdx.x >> 7) - 1; /* which warpgroup */
    const int tid = threadIdx.x & 127, lane = tid & 31, warp = tid >> 5;
    const int wg_row = rank * kRows + c * 64; /* of the block */
    const int my_row = wg_row + warp * 16 + (lane >> 2);
    const uint64_t qd = ptx::desc(ptx::addr(s.q), 16, 1024) + (uint32_t)(c * (64 * 128 >> 4));
    const uint64_t vd0 = ptx::desc32(ptx::addr(s.v[0]), 256);
    int ks = 0, kp = 0, vs = 0, vp = 0, turn = 0; /* stages of K and V, their barriers' parities */
    float o[kSums], x[kTile / 2];
    float scale[2], shift[2] = {0.f, 0.f}; /* of the two rows */
    uint32_t p[kTile / 8];                 /* weights, four a word */
    Rows r;
    Level level = {-INFINITY, -INFINITY, 0, ptx::addr(s.sums) + (uint32_t)(threadIdx.x - 128) * 16};

    auto take_turn = [&] { ptx::named_sync<256>(1 + c); };
    auto pass_turn = [&] { ptx::named_arrive<256>(c + 1 == kGroups ? 1 : 2 + c); };
    auto wait_v = [&] { ptx::bar_wait(ptx::addr(&s.v_full[vs]), vp); };
    auto next_tile = [&]() -> uint32_t {
        ptx::bar_wait(ptx::addr(&s.k_full[ks]), kp);
        uint32_t word = 0;
        if (lane == 0) word = ptx::shared_load(ptx::addr(&s.info[ks]));
        return uniform(word);
    };
    auto free_k = [&](uint32_t info) {
        free_stage(&s.k_empty[ks], tid, rank);
        if (++ks == kStages) ks = 0, kp ^= 1;
        if (info_last(info) && tid == 0) ptx::bar_arrive(ptx::addr(&s.q_empty));
    };
    auto free_v = [&] {
        free_stage(&s.v_empty[vs], tid, rank);
        if (++vs == kStages) vs = 0, vp ^= 1;
    };
    /* x = Q K^T */
    auto qk = [&] {
        const uint64_t kd =
            ptx::desc(ptx::addr(s.k[0]), 16, 1024) + (uint32_t)(ks * ((int)sizeof s.k[0] >> 4));
        ptx::wgmma_fence();
        ptx::wgmma_qk_fp8_first(x, qd, kd);
#pragma unroll
        for (int d = 1; d < LV_FP8_DIM / 32; d++)
            ptx::wgmma_qk_fp8(x, qd + (d * 32 >> 4), kd + (d * 32 >> 4));
        ptx::wgmma_commit();
    };
    /* o += P V */
    auto pv = [&] {
        const uint64_t vd = vd0 + (uint32_t)(vs * ((int)sizeof s.v[0] >> 4));
        ptx::wgmma_fence();
#pragma unroll
        for (int u = 0; u < kUnits; u++)
            ptx::wgmma_pv_fp8(o, p + 4 * u, vd + (uint32_t)(u * LV_FP8_V_BYTES >> 4));
        ptx::wgmma_commit();
        level.tiles++;
    };
    /* o to the new maximum; now and then it starts again from 0 */
    auto settle = [&] {
        if (level.tiles >= kFlush) level_add(level, o, r);
        else attn_sm90::rescale(o, r);
    };
    auto whole = [&](uint32_t i) { return row_first(i) <= wg_row && row_last(i) >= wg_row + 63; };

    if (c == 0) ptx::named_arrive<256>(1); /* the first turn is warpgroup 0's */
    for (int w = first; w < total; w += step, turn ^= 1) {
        const Item it = item_of(a, w);
        const int row = a.blocks[it.block].row + my_row;
        const int64_t q_row =
            ((int64_t)it.batch * a.heads + it.head) * a.n_blocks * LV_TILE_BLOCK + row;
        scale[0] = __ldg(a.q_scale + q_row), scale[1] = __ldg(a.q_scale + q_row + 8);
        r.m0 = r.m1 = -INFINITY;
        level_start(level);
#pragma unroll
        for (int i = 0; i < kSums; i++) o[i] = 0.f;
        ptx::bar_wait(ptx::addr(&s.q_full), turn);
        uint32_t info = next_tile();
        for (;;) {
            if (!whole(info)) { /* some of these rows, or none, attend to the tile */
                const bool touched = row_first(info) <= wg_row + 63 && row_last(info) >= wg_row;
                take_turn();
                if (touched) {
                    qk();
                    ptx::wgmma_wait<0>();
                    ptx::pin(x);
                }
                pass_turn();
                free_k(info);
                wait_v();
                if (touched) {
                    const bool in0 = my_row >= row_first(info) && my_row <= row_last(info);
                    const bool in1 = my_row + 8 >= row_first(info) && my_row + 8 <= row_last(info);
                    keep_rows(x, in0, in1, [](int) { return -INFINITY; });
                    raise<true>(x, r, scale);
                    weigh<true>(p, x, r, scale);
                    settle();
                    volatile float kept[kSums]; /* a row outside keeps O, whatever V holds */
#pragma unroll
                    for (int i = 0; i < kSums; i++) kept[i] = o[i];
                    pv();
                    ptx::wgmma_wait<0>();
                    ptx::pin(o);
                    keep_rows(o, in0, in1, [&](int i) { return kept[i]; });
                }
                free_v();
                if (info_last(info)) break;
                info = next_tile();
                continue;
            }
            take_turn();
            qk();
            pass_turn();
            ptx::wgmma_wait<0>();
            ptx::pin(x);
            free_k(info);
            raise<false>(x, r, scale);
            weigh<false>(p, x, r, scale);
            settle();
            bool done = info_last(info);
            while (!done) {
                info = next_tile();
                if (!whole(info)) break;
                take_turn();
                qk();
                wait_v();
                pv();
                pass_turn();
                ptx::wgmma_wait<1>();
                ptx::pin(x);
                free_k(info);
                raise<false>(x, r, scale);
                wait_v(); /* has passed: a branch, over which ptxas moves nothing */
                ptx::wgmma_wait<0>();
                ptx::pin(o);
                free_v();
                weigh<false>(p, x, r, scale);
                settle();
                done = info_last(info);
            }
            wait_v();
            pv();
            ptx::wgmma_wait<0>();
            ptx::pin(o);
            free_v();
            if (done) break;
        }
        level_end(level, o, r);
        if (a.q_shift) shift[0] = __ldg(a.q_shift + q_row), shift[1] = __ldg(a.q_shift + q_row + 8);
        store(a, it, row, o, r, shift);
    }
}

} /* namespace attn_fp8 */
