"""Makes preview.safetensors: a drawn clip's latents by models/tiny-wan and diffusers' frames of them.

    python make_tiny_wan_golden.py

clip.z [16, 3, 8, 8] is normalised as the transformer's latents are, clip.frames [3, 9, 64, 64] in
-1 .. 1. parity.txt beside it is what models/training/parity.py printed."""

import pathlib
import sys

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parents[2] / "models"
sys.path.insert(0, str(MODELS / "training"))

import captions
import clips

CAPTION = "a large red circle moving left and a small blue square moving down on a gray background"


@torch.no_grad()
def main():
    vae = AutoencoderKLWan.from_pretrained(MODELS / "tiny-wan/vae", torch_dtype=torch.float32)
    video = clips.render([captions.read(CAPTION)], 9, "cpu", 2)[..., 32:96, 32:96].contiguous()
    mean, std = (
        torch.tensor(v).view(1, -1, 1, 1, 1)
        for v in (vae.config.latents_mean, vae.config.latents_std)
    )
    z = (vae.encode(video).latent_dist.mode() - mean) / std
    frames = vae.decode(z * std + mean).sample.clamp(-1, 1)
    print(f"PSNR {-10 * (frames - video).square().mean().div(4).log10():.1f} dB")
    save_file(
        {"clip.z": z[0].contiguous(), "clip.frames": frames[0].contiguous()},
        HERE / "preview.safetensors",
    )


if __name__ == "__main__":
    main()
