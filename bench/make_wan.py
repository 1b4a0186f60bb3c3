"""A Wan checkpoint with random weights for benchmarks, from the tiny one of the tests.

usage: python bench/make_wan.py DIR [HEADS HEAD_DIM LAYERS FFN]    default 8 64 12 2048 (E = 512)
"""
import shutil
import sys

import torch
from diffusers import WanTransformer3DModel

directory = sys.argv[1]
heads, head_dim, layers, ffn = map(int, sys.argv[2:6]) if len(sys.argv) > 2 else (8, 64, 12, 2048)

shutil.copytree("tests/golden/wan/tiny-a", directory, dirs_exist_ok=True)
shutil.rmtree(f"{directory}/transformer")
torch.manual_seed(0)
model = WanTransformer3DModel(num_attention_heads=heads, attention_head_dim=head_dim, num_layers=layers,
                              ffn_dim=ffn, text_dim=32, in_channels=16, out_channels=16)
model.save_pretrained(f"{directory}/transformer")
print(f"{directory}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
