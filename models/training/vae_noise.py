"""How much harm it does a VAE's video if its latents are off: PSNR of held-out clips decoded from
latents with noise, whose deviation is a share of each channel's own.

    python vae_noise.py work/vae.safetensors ../tiny-wan/vae/diffusion_pytorch_model.safetensors

On a CPU, some minutes."""

import argparse
import pathlib
import random

import torch
from safetensors.torch import load_file

import captions
import clips
import vae as wan_vae
from train_vae import psnr

SHARES = (0, 0.1, 0.15, 0.2, 0.3, 0.45)
FRAMES, CLIPS, TWO = 13, 8, 0.8  # TWO: share of clips with two objects


def held_out_clips():
    """[CLIPS, 3, FRAMES, H, W] of combinations never trained, always the same."""
    rng = random.Random(5)
    scenes = [captions.draw_scene(rng, True, TWO) for _ in range(CLIPS)]
    return clips.render(scenes, FRAMES, "cpu", rng.randrange(1 << 30))


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    video = held_out_clips()
    print("| noise | " + " | ".join(map(str, SHARES)) + " |\n" + "|---" * (len(SHARES) + 1) + "|")
    for path in args.files:
        vae = wan_vae.VAE()
        vae.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        z = vae.encode(video)[0]
        deviation = z.std((0, 2, 3, 4), keepdim=True)
        first, others = [], []
        for share in SHARES:
            noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
            error = vae.decode(z + share * deviation * noise).clamp(-1, 1) - video
            first.append(f"{psnr(error[:, :, :1]):.1f}")
            others.append(f"{psnr(error[:, :, 1:]):.1f}")
        for name, cells in ("first frame", first), ("others", others):
            print(f"| {path}, {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
