"""Seconds of diffusers' WanPipeline on the CPU, stage by stage, for the comparison in docs/SPEED.md.

usage: python bench/diffusers_wan.py MODEL FRAMES HEIGHT WIDTH STEPS THREADS [LVSA]
With the path of the lvsa program, self-attention follows the plan of `lvsa plan --json`: frame by frame
over gathered keys, as the Python implementation of LVSA does without FlashInfer.
"""
import json
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from diffusers import WanPipeline

model = sys.argv[1]
frames, height, width, steps, threads = map(int, sys.argv[2:7])
torch.set_num_threads(threads)
pipe = WanPipeline.from_pretrained(model, torch_dtype=torch.float32)
pipe.set_progress_bar_config(disable=True)


class SparseAttention:
    """Wan's self-attention over the frames of a plan; the rest as diffusers has it."""

    def __init__(self, rows, patches):
        self.rows, self.patches = rows, patches

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None,
                 rotary_emb=None):
        q, k, v = (p(hidden_states) for p in (attn.to_q, attn.to_k, attn.to_v))
        q, k = attn.norm_q(q), attn.norm_k(k)
        q, k, v = (t.unflatten(2, (attn.heads, -1)) for t in (q, k, v))
        cos, sin = rotary_emb[0][..., 0::2], rotary_emb[1][..., 1::2]
        for t in (q, k):
            a, b = t[..., 0::2].clone(), t[..., 1::2].clone()
            t[..., 0::2], t[..., 1::2] = a * cos - b * sin, a * sin + b * cos
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        out = torch.empty_like(q)
        for f, rows in enumerate(self.rows):
            own = slice(f * self.patches, (f + 1) * self.patches)
            out[:, :, own] = F.scaled_dot_product_attention(q[:, :, own], k[:, :, rows], v[:, :, rows])
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2)))


if len(sys.argv) > 7:
    T, P = (frames - 1) // 4 + 1, (height // 16) * (width // 16)
    plan = json.loads(subprocess.check_output(
        [sys.argv[7], "plan", "-q", "--json", "--latent-frames", str(T), "--patches-per-frame", str(P),
         "--reference-latent-frames", "21"]))
    ptr, idx = plan["csr"]["indptr"], plan["csr"]["indices"]
    rows = [torch.cat([torch.arange(f * P, (f + 1) * P) for f in idx[ptr[t]:ptr[t + 1]]])
            for t in range(T)]
    for block in pipe.transformer.blocks:
        block.attn1.set_processor(SparseAttention(rows, P))

marks = []
start = time.perf_counter()
pipe("a red fox runs over the snow", num_frames=frames, height=height, width=width,
     num_inference_steps=steps, guidance_scale=5.0, output_type="np",
     generator=torch.Generator("cpu").manual_seed(0),
     callback_on_step_end=lambda p, i, t, kw: marks.append(time.perf_counter()) or kw)
end = time.perf_counter()
step = (marks[-1] - marks[0]) / (len(marks) - 1)
print(f"diffusers {'sparse' if len(sys.argv) > 7 else 'dense'}, {threads} thread(s): step {step:.2f} s, "
      f"decode {end - marks[-1]:.2f} s, whole run {end - start:.2f} s")
