"""Outside yardsticks for `lvsa bench attention --device cuda`: the same attended pairs in PyTorch.

usage: python bench/torch_attention.py [SHAPE ...]
       wan-41 wan-81 wan-121 wan14b-81 dense-21 hunyuan cosmos cogvideox
Measures what PyTorch offers: cuDNN and flash attention over all frames (dense), the reference
implementation's way (a gather and a dense call a frame), and FlexAttention with a block mask made
from the frames. Times are medians of 10, of 5 past 100 ms; rates are over attended pairs, dense
ones over all pairs. Text is rows of keys past the video's.
"""
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

# frames, patches, heads, key heads, head size, rows of text, reference, rotation
SHAPES = {
    "dense-21": (21, 1560, 12, 12, 128, 0, 21, 0),
    "wan-41": (41, 1560, 12, 12, 128, 0, 21, 1),
    "wan-81": (81, 1560, 12, 12, 128, 0, 21, 1),
    "wan-121": (121, 1560, 12, 12, 128, 0, 21, 1),
    "wan14b-81": (81, 1560, 40, 40, 128, 0, 21, 1),
    "hunyuan": (49, 1590, 16, 16, 128, 300, 33, 1),
    "cosmos": (95, 920, 32, 8, 128, 0, 48, 1),
    "cogvideox": (25, 1350, 48, 48, 64, 226, 13, 1),
}
W, FIRST = 3, 1


def attended(T, reference, rotation):
    """[T, T] bool: LVSA's pattern with the automatic interval (arXiv 2605.31057)."""
    if T <= reference:
        return torch.ones(T, T, dtype=torch.bool)
    budget, target, strict = reference, max(FIRST, reference - min(2 * W + 1, T)), 1
    anchors = lambda k, off: {*range(FIRST), *((off + i * k) % T for i in range(-(-T // k)))}
    for k in range(1, T + 1):
        if len(anchors(k, 0)) >= target:
            strict = k
    m = 2 * W + FIRST
    interval = max(strict, -(-max(T - m, budget - m) // max(budget - m, 1)))
    G = anchors(interval, rotation % interval)
    keep = torch.zeros(T, T, dtype=torch.bool)
    keep[:, sorted(G)] = True
    wanted = min(2 * W + 1, T - len(G))
    for f in range(T):
        lo = max(0, min(f - W, T - 1 - 2 * W))
        hi = min(T - 1, max(f + W, 2 * W))
        have = sum(x not in G for x in range(lo, hi + 1))
        while have < wanted and (lo > 0 or hi < T - 1):
            if lo > 0:
                lo -= 1
                have += lo not in G
            if have < wanted and hi < T - 1:
                hi += 1
                have += hi not in G
        keep[f, lo:hi + 1] = True
    return keep


def measure(name, call, flop):
    try:
        for _ in range(2):
            call()
        torch.cuda.synchronize()
    except Exception as e:  # a back end that can't is a line of the table too
        print(f"{name:<16} {type(e).__name__}: {str(e).splitlines()[0][:70]}", flush=True)
        return
    times = []
    while len(times) < (10 if not times or times[0] < 100 else 5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    ms = statistics.median(times)
    print(f"{name:<16} {ms:12.3f} {min(times):12.3f} {flop / ms * 1e-9:12.1f} "
          f"{flop / ms * 1e-9 / 9.89:10.1f} %", flush=True)


def sdpa(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=q.shape[1] != k.shape[1])


def by_frame(q, k, v, out, keep, P):
    T = keep.shape[0]
    for f in range(T):
        rows = keep[f].nonzero().flatten()
        kf, vf = (torch.cat((x[:, :, :T * P].unflatten(2, (T, P))[:, :, rows].flatten(2, 3),
                             x[:, :, T * P:]), 2) for x in (k, v))
        out[:, :, f * P:(f + 1) * P] = sdpa(q[:, :, f * P:(f + 1) * P], kf, vf)


def flex(q, k, v, keep, P):
    """A block mask from the frames: all pairs of 128 x 128 blocks, some, or none (P >= 128)."""
    from torch.nn.attention.flex_attention import BlockMask, flex_attention
    S, keys, B = q.shape[2], k.shape[2], 128
    # The text as one more frame, which all attend to.
    keep = torch.cat((keep, torch.ones_like(keep[:, :1])), 1)
    frame = lambda j: torch.where(j < S, j // P, keep.shape[0])
    first, at = (torch.arange(0, n, B, device="cuda") for n in (S, keys))
    corners = [keep[x][:, y] for x in (first // P, (first + B - 1).clamp(max=S - 1) // P)
               for y in (frame(at), frame((at + B - 1).clamp(max=keys - 1)))]
    some, all_ = corners[0].clone(), corners[0].clone()
    for c in corners[1:]:
        some |= c
        all_ &= c
    some &= ~all_

    def lists(mask):
        order = torch.argsort(mask.int(), dim=1, descending=True, stable=True).int()
        return mask.sum(1).int()[None, None], order[None, None]

    mask = BlockMask.from_kv_blocks(*lists(some), *lists(all_), BLOCK_SIZE=B,
                                    mask_mod=lambda b, h, i, j: keep[i // P, frame(j)],
                                    seq_lengths=(S, keys))
    compiled = torch.compile(flex_attention)
    return lambda: compiled(q, k, v, block_mask=mask, enable_gqa=q.shape[1] != k.shape[1])


def shape(name):
    T, P, H, HK, D, text, reference, rotation = SHAPES[name]
    keep = attended(T, reference, rotation).cuda()
    S = T * P
    pairs = int(keep.sum()) * P * P + S * text
    # [B, S, H, D] in memory, as projections write it and lvsa reads it.
    q, k, v = (torch.randn(1, rows, heads, D, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
               for rows, heads in ((S, H), (S + text, HK), (S + text, HK)))
    out = torch.empty_like(q)
    print(f"{name}: {T} frames x {P} patches, {H}/{HK} heads x {D}, {text} rows of text, bf16, "
          f"torch {torch.__version__}")
    print(f"{'':<16} {'median ms':>12} {'best ms':>12} {'TFLOP/s':>12} {'of 989':>12}")
    for label, backend in (("cudnn dense", SDPBackend.CUDNN_ATTENTION),
                           ("flash dense", SDPBackend.FLASH_ATTENTION)):
        with sdpa_kernel(backend):
            measure(label, lambda: sdpa(q, k, v), 4 * D * H * S * (S + text))
    flop = 4 * D * H * pairs
    for label, backend in (("by frame, cudnn", SDPBackend.CUDNN_ATTENTION),
                           ("by frame, flash", SDPBackend.FLASH_ATTENTION)):
        with sdpa_kernel(backend):
            measure(label, lambda: by_frame(q, k, v, out, keep, P), flop)
    try:
        call = flex(q, k, v, keep, P)
    except Exception as e:
        print(f"{'flexattention':<16} {type(e).__name__}: {str(e).splitlines()[0][:70]}")
        return
    measure("flexattention", call, flop)


print(torch.cuda.get_device_name())
with torch.inference_mode():
    for wanted in sys.argv[1:] or ["wan-81"]:
        shape(wanted)
