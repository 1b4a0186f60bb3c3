/* consume_fp8.cuh: the consumer warpgroups of the attention kernel of 8 bits; see
 * attn_fp8_sm90.cu. */
#pragma once
#include "common_fp8.cuh"
#include "quantise_fp8.cuh"
#include "softmax.cuh"
#include "wgmma.cuh"

namespace attn_fp8 {

using attn_sm90::free_stage;
using attn_sm90::info_last;
using attn_sm90::item_of;
using attn_sm90::row_first;
using attn_sm90::row_last;
using attn_sm90::Rows;
using attn_sm90::uniform;

/* A base is raised where a score passes it by kSlack, see attn_sm90::Rows. Weights are 2^kLift
 * times larger than their definition, so that the largest is 445: e4m3 ends at 448, and what is
 * 2^-13 of the largest, at worst, still counts. */
constexpr float kSlack = 2.f, kLift = 8.8f - kSlack;

/* 1.5 * 2^23: an integer below 2^22 added to its bits gives the bits of the sum, which costs an
 * integer's addition where a conversion runs at half its speed. */
constexpr float kMagic = 12582912.f;
constexpr uint32_t kMagicBits = 0x4b400000;

/* The largest of this lane's scores of a row, kRow 0 or 1. */
template <int kRow, int kCount> __device__ __forceinline__ int largest(const uint32_t (&x)[kCount])
{
    int y = (int)x[2 * kRow];
#pragma unroll
    for (int j = 0; j < kCount / 4; j++)
        y = __vimax3_s32(y, (int)x[j * 4 + 2 * kRow], (int)x[j * 4 + 2 * kRow + 1]);
    return y;
}

/* Raises the warp's bases where one of these scores passes its own by too much; a row that isn't
 * `in` has none. scale: of the two rows. */
template <bool kSome, int kCount>
__device__ __forceinline__ void raise(const uint32_t (&x)[kCount], Rows &r, const float (&scale)[2],
                                      bool in0, bool in1)
{
    float y0 = (float)largest<0>(x) * scale[0], y1 = (float)largest<1>(x) * scale[1];
    if (kSome && !in0) y0 = -INFINITY;
    if (kSome && !in1) y1 = -INFINITY;
    r.up = __any_sync(~0u, y0 > r.m0 + kSlack || y1 > r.m1 + kSlack);
    if (r.up) {
        attn_sm90::quad_max(y0, y1);
        attn_sm90::raise_to<kSome>(r, fmaxf(r.m0, y0), fmaxf(r.m1, y1));
    } else r.a0 = r.a1 = 1.f;
}

/* Scores to weights in e4m3, four a word, as the product wants them: of a unit's 32 keys, words 0
 * and 1 are the first 16 of rows r and r + 8, 2 and 3 the others. */
template <bool kSome, int kCount>
__device__ __forceinline__ void weigh(uint32_t (&p)[kCount / 4], const uint32_t (&x)[kCount],
                                      const Rows &r, const float (&scale)[2], bool in0, bool in1)
{
    float n[2] = {fmaf(kMagic, scale[0], attn_sm90::base<kSome>(r.m0) - kLift),
                  fmaf(kMagic, scale[1], attn_sm90::base<kSome>(r.m1) - kLift)};
    if (kSome && !in0) n[0] = INFINITY;
    if (kSome && !in1) n[1] = INFINITY;
#pragma unroll
    for (int i = 0; i < kCount / 4; i++) {
        const int half = i & 1, from = i / 2 * 8 + half * 2;
        float w[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float y = __uint_as_float(x[from + e / 2 * 4 + (e & 1)] + kMagicBits);
            w[e] = ptx::exp2_approx(fmaf(y, scale[half], -n[half]));
        }
        p[i] = pack_e4m3(w[0], w[1], w[2], w[3]);
    }
}

/* ---- the second level of the sums ------------------------------------------------------------ */

/* What the tensor cores have added up, with 14 bits or less at each step, goes to sums in fp32, in
 * shared memory, a column of 16-byte words a thread. */
template <int D> struct Level {
    static constexpr int kStep = 128 * kGroups<D> * 16; /* bytes to a thread's next word */
    float m0, m1; /* the bases that they are relative to */
    int tiles;    /* since then                          */
    uint32_t at;  /* the thread's first word             */

    __device__ __forceinline__ void start()
    {
#pragma unroll
        for (int i = 0; i < kSums<D> / 4; i++) ptx::shared_zero16(at + i * kStep);
        m0 = m1 = -INFINITY;
        tiles = 0;
    }
    /* O times r.a goes there, and begins again with the next product. */
    __device__ __forceinline__ void add(const float (&o)[kSums<D>], const Rows &r)
    {
        const float f0 = ptx::exp2_approx(m0 - attn_sm90::base<true>(r.m0)),
                    f1 = ptx::exp2_approx(m1 - attn_sm90::base<true>(r.m1));
        if (__all_sync(~0u, f0 == 1.f && f1 == 1.f && r.a0 == 1.f && r.a1 == 1.f)) {
#pragma unroll
            for (int i = 0; i < kSums<D> / 4; i++) {
                const float4 y = ptx::shared_load4(at + i * kStep);
                ptx::shared_store4(at + i * kStep,
                                   make_float4(y.x + o[4 * i], y.y + o[4 * i + 1],
                                               y.z + o[4 * i + 2], y.w + o[4 * i + 3]));
            }
        } else {
#pragma unroll
            for (int i = 0; i < kSums<D> / 4; i++) {
                float4 y = ptx::shared_load4(at + i * kStep);
                y.x = fmaf(o[4 * i], r.a0, y.x * f0);
                y.y = fmaf(o[4 * i + 1], r.a0, y.y * f0);
                y.z = fmaf(o[4 * i + 2], r.a1, y.z * f1);
                y.w = fmaf(o[4 * i + 3], r.a1, y.w * f1);
                ptx::shared_store4(at + i * kStep, y);
            }
        }
        m0 = r.m0;
        m1 = r.m1;
        tiles = 0;
    }
    /* O becomes the sum of both levels. */
    __device__ __forceinline__ void end(float (&o)[kSums<D>], const Rows &r) const
    {
        const float f0 = ptx::exp2_approx(m0 - attn_sm90::base<true>(r.m0)),
                    f1 = ptx::exp2_approx(m1 - attn_sm90::base<true>(r.m1));
#pragma unroll
        for (int i = 0; i < kSums<D> / 4; i++) {
            const float4 y = ptx::shared_load4(at + i * kStep);
            o[4 * i] = fmaf(y.x, f0, o[4 * i]);
            o[4 * i + 1] = fmaf(y.y, f0, o[4 * i + 1]);
            o[4 * i + 2] = fmaf(y.z, f1, o[4 * i + 2]);
            o[4 * i + 3] = fmaf(y.w, f1, o[4 * i + 3]);
        }
    }
};

/* O / l and the log-sums to memory: rows row0 and row0 + 8 of the sequence. */
template <int D>
__device__ __forceinline__ void store(const Args &a, const Item &it, int row0,
                                      const float (&o)[kSums<D>], const Rows &r,
                                      const float (&shift)[2])
{
    /* The sums of the weights of eight eighths of the keys. */
    float l[2] = {o[D / 2] + o[D / 2 + 1], o[D / 2 + 2] + o[D / 2 + 3]};
    attn_sm90::quad_sum(l[0], l[1]);
    const float f[2] = {l[0] != 0.f ? 1.f / l[0] : 0.f, l[1] != 0.f ? 1.f / l[1] : 0.f};
    attn_sm90::store_lse(a, it, row0, r.m0 + shift[0] - kLift, r.m1 + shift[1] - kLift, l[0], l[1]);
    const int64_t head = ((int64_t)it.batch * a.heads + it.head) / a.group;
    const int quad = threadIdx.x & 3;
    const float2 *mean = reinterpret_cast<const float2 *>(a.v_means + head * D) + quad;
    const float2 *scale = reinterpret_cast<const float2 *>(a.v_scales + head * D) + quad;
    attn_sm90::store_rows<__nv_bfloat16, D>(a, it, row0, [&](int i) {
        const int half = i / 2 & 1;
        const float2 m = __ldg(mean + i / 4 * 4), c = __ldg(scale + i / 4 * 4);
        if (l[half] == 0.f) return make_float2(0.f, 0.f);
        return make_float2(fmaf(o[i] * f[half], c.x, m.x), fmaf(o[i + 1] * f[half], c.y, m.y));
    });
}

/* A block's row among all rounded rows of Q. */
template <int D>
__device__ __forceinline__ int64_t rounded_row(const Args &a, const Item &it, int row)
{
    const int64_t head = (int64_t)it.batch * a.heads + it.head;
    return head * a.n_blocks * (kCtas * kRows<D>) + a.blocks[it.block].row + row;
}

/* A warpgroup's scores, weights and sums: what consume() does with a tile. The registers are
 * variables there: as members of this ptxas puts waits elsewhere (trap 2 of attn_sm90.cuh). */
template <int D> struct Sums {
    typedef float O[kSums<D>];
    typedef uint32_t X[kTile<D> / 2]; /* scores: integers     */
    typedef uint32_t P[kTile<D> / 8]; /* weights, four a word */
    const Args &a;
    Shared<D> &s;
    O &o;
    X &x;
    P &p;
    Rows &r;
    uint64_t qd;    /* this warpgroup's rows of Q */
    float scale[2]; /* of the two rows' scores    */
    Level<D> level;

    __device__ __forceinline__ void start(int c)
    {
        qd = ptx::desc_of<D>(ptx::addr(s.q)) + (uint32_t)(c * (64 * D >> 4));
        level.at = ptx::addr(s.sums) + (uint32_t)(threadIdx.x - 128) * 16;
    }
    __device__ __forceinline__ void begin(const Item &it, int row)
    {
        const float *from = a.q_scale + rounded_row<D>(a, it, row);
        scale[0] = __ldg(from), scale[1] = __ldg(from + 8);
        r.m0 = r.m1 = -INFINITY;
        level.start();
        attn_sm90::clear(o);
    }
    __device__ __forceinline__ void qk(int stage)
    {
        const uint64_t kd =
            ptx::desc_of<D>(ptx::addr(s.k[0])) + (uint32_t)(stage * ((int)sizeof s.k[0] >> 4));
        ptx::wgmma_fence();
        wgmma_qk_s8_first(x, qd, kd);
#pragma unroll
        for (int d = 32; d < D; d += 32) wgmma_qk_s8(x, qd + (d >> 4), kd + (d >> 4));
        ptx::wgmma_commit();
    }
    __device__ __forceinline__ void pv(int stage)
    {
        const uint64_t vd =
            ptx::desc_of<32>(ptx::addr(s.v[0])) + (uint32_t)(stage * ((int)sizeof s.v[0] >> 4));
        ptx::wgmma_fence();
#pragma unroll
        for (int u = 0; u < kUnits<D>; u++)
            wgmma_pv_e4m3(o, p + 4 * u, vd + (uint32_t)(u * LV_FP8_V_BYTES(D) >> 4),
                          u > 0 || level.tiles > 0);
        ptx::wgmma_commit();
        level.tiles++;
    }
    /* Also O to the new base, or, now and then, to the second level. */
    template <bool kSome> __device__ __forceinline__ void weigh_rows(bool in0, bool in1)
    {
        attn_fp8::weigh<kSome>(p, x, r, scale, in0, in1);
        if (level.tiles >= kFlush<D>) {
            level.add(o, r);
            if (kSome) attn_sm90::clear(o); /* what rows outside keep */
        } else if (r.up) attn_sm90::rescale(o, r);
    }
    __device__ __forceinline__ void raise(uint32_t) { attn_fp8::raise<false>(x, r, scale, 1, 1); }
    __device__ __forceinline__ void weigh() { weigh_rows<false>(true, true); }
    __device__ __forceinline__ void weigh_some(uint32_t, bool in0, bool in1)
    {
        attn_fp8::raise<true>(x, r, scale, in0, in1);
        weigh_rows<true>(in0, in1);
    }
    __device__ __forceinline__ void end(const Item &it, int row)
    {
        float shift[2] = {0.f, 0.f};
        level.end(o, r);
        if (a.q_shift) {
            const float *from = a.q_shift + rounded_row<D>(a, it, row);
            shift[0] = __ldg(from), shift[1] = __ldg(from + 8);
        }
        store<D>(a, it, a.blocks[it.block].row + row, o, r, shift);
    }
};

/* One warpgroup, 64 rows; the order of attn_sm90::consume(), where it is explained. */
template <int D>
__device__ __forceinline__ void consume(const Args &a, Shared<D> &s, int rank, int first, int step)
{
    const int total = a.n_blocks * a.heads * a.batch;
    const int c = (int)uniform(threadIdx.x >> 7) - 1; /* which warpgroup */
    const int tid = threadIdx.x & 127, lane = tid & 31, warp = tid >> 5;
    const int wg_row = rank * kGroups<D> * 64 + c * 64; /* of the block */
    const int my_row = wg_row + warp * 16 + (lane >> 2);
    int ks = 0, kp = 0, vs = 0, vp = 0, turn = 0; /* stages of K and V, their barriers' parities */
    typename Sums<D>::O o;
    typename Sums<D>::X x;
    typename Sums<D>::P p;
    Rows r;
    Sums<D> m{a, s, o, x, p, r};
    m.start(c);

    auto take_turn = [&] { ptx::named_sync<256>(1 + c); };
    auto pass_turn = [&] { ptx::named_arrive<256>(c + 1 == kGroups<D> ? 1 : 2 + c); };
    auto wait_v = [&] { ptx::bar_wait(ptx::addr(&s.v_full[vs]), vp); };
    auto next_tile = [&]() -> uint32_t {
        ptx::bar_wait(ptx::addr(&s.k_full[ks]), kp);
        uint32_t word = 0;
        if (lane == 0) word = ptx::shared_load(ptx::addr(&s.info[ks]));
        return uniform(word);
    };
    auto free_k = [&](uint32_t info) {
        free_stage(&s.k_empty[ks], tid, rank);
        if (++ks == kStages<D>) ks = 0, kp ^= 1;
        if (info_last(info) && tid == 0) ptx::bar_arrive(ptx::addr(&s.q_empty));
    };
    auto free_v = [&] {
        free_stage(&s.v_empty[vs], tid, rank);
        if (++vs == kStages<D>) vs = 0, vp ^= 1;
    };
    auto whole = [&](uint32_t i) { return row_first(i) <= wg_row && row_last(i) >= wg_row + 63; };

    if (c == 0) ptx::named_arrive<256>(1); /* the first turn is warpgroup 0's */
    for (int w = first; w < total; w += step, turn ^= 1) {
        const Item it = item_of(a, w);
        m.begin(it, my_row);
        ptx::bar_wait(ptx::addr(&s.q_full), turn);
        uint32_t info = next_tile();
        for (;;) {
            if (!whole(info)) { /* some of these rows, or none, attend to the tile */
                const bool touched = row_first(info) <= wg_row + 63 && row_last(info) >= wg_row;
                take_turn();
                if (touched) {
                    m.qk(ks);
                    ptx::wgmma_wait<0>();
                    ptx::pin(x);
                }
                pass_turn();
                free_k(info);
                wait_v();
                if (touched) {
                    const bool in0 = my_row >= row_first(info) && my_row <= row_last(info);
                    const bool in1 = my_row + 8 >= row_first(info) && my_row + 8 <= row_last(info);
                    m.weigh_some(info, in0, in1);
                    volatile float kept[kSums<D>]; /* a row outside keeps O, whatever V holds */
#pragma unroll
                    for (int i = 0; i < kSums<D>; i++) kept[i] = o[i];
                    m.pv(vs);
                    ptx::wgmma_wait<0>();
                    ptx::pin(o);
#pragma unroll
                    for (int i = 0; i < kSums<D>; i++)
                        if (!(i & 2 ? in1 : in0)) o[i] = kept[i];
                }
                free_v();
                if (info_last(info)) break;
                info = next_tile();
                continue;
            }
            take_turn();
            m.qk(ks);
            pass_turn();
            ptx::wgmma_wait<0>();
            ptx::pin(x);
            free_k(info);
            m.raise(info);
            m.weigh();
            bool done = info_last(info);
            while (!done) {
                info = next_tile();
                if (!whole(info)) break;
                take_turn();
                m.qk(ks);
                wait_v();
                m.pv(vs);
                pass_turn();
                ptx::wgmma_wait<1>();
                ptx::pin(x);
                free_k(info);
                m.raise(info);
                ptx::wgmma_wait<0>();
                ptx::pin(o);
                free_v();
                m.weigh();
                done = info_last(info);
            }
            wait_v();
            m.pv(vs);
            ptx::wgmma_wait<0>();
            ptx::pin(o);
            free_v();
            if (done) break;
        }
        m.end(it, my_row);
    }
}

} /* namespace attn_fp8 */
