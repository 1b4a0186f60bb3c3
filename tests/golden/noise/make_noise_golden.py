"""Writes noise.safetensors beside this script: torch.randn for several seeds and sizes.

`<seed>.<size>` holds the first call of a fresh generator; of the largest size, which is Wan's latent for 33
frames of 128 x 128 pixels, only every 97th number is kept. `sequence` holds calls of 3, 20, 4 and 16 numbers
from one generator of seed 3, end to end.
"""

import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
SEEDS = [0, 1, 42, 2**32 + 5, 2**63 - 1]
SIZES = [1, 5, 15, 16, 17, 31, 100, 16 * 9 * 16 * 16]


def main():
    tensors = {}
    for seed in SEEDS:
        for size in SIZES:
            x = torch.randn(size, generator=torch.Generator("cpu").manual_seed(seed))
            tensors[f"{seed}.{size}"] = x[::97].clone() if size > 1000 else x
    g = torch.Generator("cpu").manual_seed(3)
    tensors["sequence"] = torch.cat([torch.randn(n, generator=g) for n in (3, 20, 4, 16)])
    save_file(tensors, HERE / "noise.safetensors")


main()
