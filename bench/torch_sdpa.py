"""The same attended work through PyTorch's CPU scaled_dot_product_attention, frame by frame.

usage: python bench/torch_sdpa.py LVSA T P HEADS D THREADS    (needs torch; LVSA is the built program)
The frames come from `lvsa plan --json`; each frame's keys are gathered, then attended to densely.
"""
import json
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

lvsa, T, P, heads, dim, threads = sys.argv[1], *map(int, sys.argv[2:7])
torch.set_num_threads(threads)
torch.manual_seed(0)

plan = json.loads(subprocess.check_output(
    [lvsa, "plan", "-q", "--json", "--latent-frames", str(T), "--patches-per-frame", str(P),
     "--reference-latent-frames", "21"]))
indptr, indices = plan["csr"]["indptr"], plan["csr"]["indices"]
rows = [torch.cat([torch.arange(f * P, (f + 1) * P) for f in indices[indptr[t]:indptr[t + 1]]])
        for t in range(T)]

q, k, v = (torch.randn(1, heads, T * P, dim) for _ in range(3))
out = torch.empty_like(q)


def attend():
    for t in range(T):
        out[:, :, t * P:(t + 1) * P] = F.scaled_dot_product_attention(
            q[:, :, t * P:(t + 1) * P], k[:, :, rows[t]], v[:, :, rows[t]])


attend()
best = float("inf")
for _ in range(5):
    start = time.perf_counter()
    attend()
    best = min(best, time.perf_counter() - start)
flop = 4 * dim * heads * P * P * sum(plan["attended"])
print(f"torch {torch.__version__} sdpa by frame, T={T} P={P} H={heads} D={dim}, {threads} thread(s): "
      f"{best * 1e3:.1f} ms, {flop / best * 1e-9:.1f} GFLOP/s")
