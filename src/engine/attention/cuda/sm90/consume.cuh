/* consume.cuh: the consumer warpgroups of the attention kernel; see attn_sm90.cuh. */
#pragma once
#include "softmax.cuh"
#include "wgmma.cuh"

namespace attn_sm90 {

/* One warpgroup, 64 rows. Tiles that all its rows attend to are pipelined: x_i = Q K_i^T and
 * O += P_{i-1} V_{i-1} are issued together; the maxima of x_i are found under the second, its
 * weights under the other warpgroups' products. Other tiles go one by one.
 *
 * The loop's words are lambdas, not methods of a struct: that made other machine code of equal
 * length, and this is the code that was measured. */
template <class T, int D>
__device__ __forceinline__ void consume(const Args &a, Shared<D> &s, int rank, int first, int step)
{
    const int total = a.n_blocks * a.heads * a.batch;
    const int c = (int)uniform(threadIdx.x >> 7) - 1; /* which warpgroup */
    const int tid = threadIdx.x & 127, lane = tid & 31, warp = tid >> 5;
    const int wg_row = rank * kRows<D> + c * 64; /* of the block */
    const int my_row = wg_row + warp * 16 + (lane >> 2);
    const uint64_t qd = ptx::desc(ptx::addr(s.q), 16, 1024) + (uint32_t)(c * (64 * 128 >> 4));
    int ks = 0, kp = 0, vs = 0, vp = 0, turn = 0; /* stages of K and V, their barriers' parities */
    float o[D / 2];
    uint32_t x[kTile<D> / 2]; /* scores, then weights: floats as their bits */
    uint32_t p[kTile<D> / 4]; /* weights, two a word */
    Rows r;

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
    /* x = Q K^T */
    auto qk = [&] {
        const uint64_t kd =
            ptx::desc(ptx::addr(s.k[0]), 16, 1024) + (uint32_t)(ks * (kTile<D> * D * 2 >> 4));
        ptx::wgmma_fence();
#pragma unroll
        for (int d = 0; d < D / 16; d++)
            wgmma_qk(T(), x, qd + ((d >> 2) * kRows<D> * 128 + (d & 3) * 32 >> 4),
                     kd + ((d >> 2) * kTile<D> * 128 + (d & 3) * 32 >> 4), d != 0);
        ptx::wgmma_commit();
    };
    /* o += P V */
    auto pv = [&] {
        const uint64_t vd = ptx::desc(ptx::addr(s.v[0]), kTile<D> * 128, 1024) +
                            (uint32_t)(vs * (kTile<D> * D * 2 >> 4));
        ptx::wgmma_fence();
#pragma unroll
        for (int j = 0; j < kTile<D> / 16; j++) wgmma_pv(T(), o, p + 4 * j, vd + (j * 2048 >> 4));
        ptx::wgmma_commit();
    };
    auto to_p = [&] {
#pragma unroll
        for (int i = 0; i < kTile<D> / 4; i++)
            p[i] = pack<T>(to_float(x[2 * i]), to_float(x[2 * i + 1]));
    };
    auto whole = [&](uint32_t i) { return row_first(i) <= wg_row && row_last(i) >= wg_row + 63; };

    if (c == 0) ptx::named_arrive<256>(1); /* the first turn is warpgroup 0's */
    for (int w = first; w < total; w += step, turn ^= 1) {
        const Item it = item_of(a, w);
        r.m0 = r.m1 = -INFINITY;
        r.l0 = r.l1 = 0.f;
#pragma unroll
        for (int i = 0; i < D / 2; i++) o[i] = 0.f;
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
                    cut<D>(a, x, info, in0 ? info_valid(info) : 0, in1 ? info_valid(info) : 0);
                    raise<D, true>(x, r, a.scale_log2);
                    weigh<D, true>(x, r, a.scale_log2);
                    to_p();
                    if (r.up) rescale(o, r);
                    volatile float kept[D / 2]; /* a row outside keeps O, whatever V holds */
#pragma unroll
                    for (int i = 0; i < D / 2; i++) kept[i] = o[i];
                    pv();
                    ptx::wgmma_wait<0>();
                    ptx::pin(o);
#pragma unroll
                    for (int i = 0; i < D / 2; i++)
                        if (!(i & 2 ? in1 : in0)) o[i] = kept[i];
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
            if (info_valid(info) < kTile<D>) cut<D>(a, x, info, info_valid(info), info_valid(info));
            raise<D, false>(x, r, a.scale_log2);
            weigh<D, false>(x, r, a.scale_log2);
            to_p();
            if (r.up) rescale(o, r);
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
                if (info_valid(info) < kTile<D>)
                    cut<D>(a, x, info, info_valid(info), info_valid(info));
                raise<D, false>(x, r, a.scale_log2);
                ptx::wgmma_wait<0>();
                ptx::pin(o);
                free_v();
                weigh<D, false>(x, r, a.scale_log2);
                to_p();
                if (r.up) rescale(o, r);
                done = info_last(info);
            }
            wait_v();
            pv();
            ptx::wgmma_wait<0>();
            ptx::pin(o);
            free_v();
            if (done) break;
        }
        store<T, D>(a, it, a.blocks[it.block].row + my_row, o, r);
    }
}

} /* namespace attn_sm90 */
