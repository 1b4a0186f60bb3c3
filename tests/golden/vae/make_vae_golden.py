"""Writes what diffusers' tiled decoder makes of latents, for the VAEs of ../wan, to tiles.safetensors.

    pip install torch==2.15.0 diffusers==0.42.1 safetensors==0.8.0 numpy==2.4.6
    python make_vae_golden.py

Computed on the CPU in fp64 from the checkpoints as they are read back, then rounded to fp32.
Per case: NAME.z, latents [16, T, Y, X] as the denoiser leaves them; NAME.frames [3, F, 8 Y, 8 X],
-1 .. 1. The name holds the tile's size and stride in latents.
"""

import pathlib

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
CASES = {  # checkpoint, [T, Y, X], tile, stride
    "a.4.3": ("tiny-a", (2, 5, 8), 4, 3),  # the last column of tiles is narrower than the overlap
    "a.5.2": ("tiny-a", (2, 4, 7), 5, 2),  # three tiles lie over one another; rows needn't be cut
    "b.3.3": ("tiny-b", (3, 4, 5), 3, 3),  # no overlap
}
PIXELS = 8  # along the edge of a latent


def make_case(name, checkpoint, shape, tile, stride):
    vae = AutoencoderKLWan.from_pretrained(HERE.parent / "wan" / checkpoint / "vae").double().eval()
    vae.enable_tiling(PIXELS * tile, PIXELS * tile, PIXELS * stride, PIXELS * stride)
    generator = torch.Generator().manual_seed(sum(name.encode()))
    z = torch.randn((1, 16, *shape), generator=generator)
    mean, std = (
        torch.tensor(s, dtype=torch.float64).view(1, -1, 1, 1, 1)
        for s in (vae.config.latents_mean, vae.config.latents_std)
    )
    x = z.double() * std + mean
    frames = vae.decode(x).sample
    vae.disable_tiling()
    change = (frames - vae.decode(x).sample).norm() / frames.norm()
    assert change > 1e-3, change  # a decoder that leaves the tiles out is found out
    return {f"{name}.z": z[0], f"{name}.frames": frames[0].float().contiguous()}


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    tensors = {}
    for name, case in CASES.items():
        tensors |= make_case(name, *case)
    save_file(tensors, HERE / "tiles.safetensors")
    (HERE / "tiles.safetensors").chmod(0o644)


main()
