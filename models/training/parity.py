"""One video by diffusers' own pipeline and by lvsa from the same checkpoint, seed and steps, and
how they differ.

    python parity.py --model ../tiny-wan --lvsa ../../build/lvsa

Prints the relative error of the final latents and the PSNR between the two videos; exits 1 if they
are over 1e-3 or under 40 dB. Both run in f32 on the CPU, dense, over the model's own length."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file

import check_video

LATENTS, VIDEO = 1e-3, 40.0  # the most relative error, the least dB
PROMPT = "a large blue square moving left on a white background"


def by_diffusers(model, prompt, seed, settings):
    """Latents [C, T, Y, X] and frames [F, H, W, 3] uint8, truncated as export_to_video does."""
    pipe = diffusers.WanPipeline.from_pretrained(model, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    call = dict(
        prompt=prompt,
        negative_prompt=settings["negative_prompt"],
        height=settings["height"],
        width=settings["width"],
        num_frames=settings["frames"],
        num_inference_steps=settings["steps"],
        guidance_scale=settings["guidance"],
    )
    noise = lambda: torch.Generator("cpu").manual_seed(seed)
    latents = pipe(**call, generator=noise(), output_type="latent").frames
    config = pipe.vae.config
    mean, std = (
        torch.tensor(v).view(1, -1, 1, 1, 1) for v in (config.latents_mean, config.latents_std)
    )
    with torch.no_grad():
        video = pipe.vae.decode(latents * std + mean).sample[0]
    frames = ((video.permute(1, 2, 3, 0) * 0.5 + 0.5).clamp(0, 1) * 255).to(torch.uint8).numpy()
    return latents[0], frames


def by_lvsa(lvsa, model, prompt, seed, frames):
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        subprocess.run(
            [
                lvsa,
                "generate",
                "-q",
                "-m",
                model,
                "-p",
                prompt,
                "-S",
                str(seed),
                "--output-latent",
                place / "z.safetensors",
                "-o",
                place / "%04d.png",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        latents = load_file(place / "z.safetensors")["latents"].float()
        pictures = [
            np.asarray(Image.open(place / f"{i:04}.png").convert("RGB")) for i in range(frames)
        ]
    return latents.reshape(latents.shape[-4:]), np.stack(pictures)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--lvsa", default="lvsa")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--seed", type=int, default=16)
    args = parser.parse_args()
    settings = json.loads((args.model / "lvsa.json").read_text())
    wanted, theirs = by_diffusers(args.model, args.prompt, args.seed, settings)
    latents, ours = by_lvsa(args.lvsa, args.model, args.prompt, args.seed, settings["frames"])
    error = ((latents - wanted).norm() / wanted.norm()).item()
    difference = ours.astype(np.float64) - theirs
    psnr = check_video.psnr(np.square(difference).mean())
    print(
        f"diffusers {diffusers.__version__}, transformers {transformers.__version__}, "
        f"torch {torch.__version__}"
    )
    print(
        f"{args.prompt!r}, seed {args.seed}, {settings['frames']} frames, {settings['steps']} steps"
    )
    print(f"latents: relative error {error:.2e}, at most {LATENTS:.0e} is wanted")
    print(
        f"video: PSNR {psnr:.1f} dB, at least {VIDEO:.0f} is wanted; "
        f"bytes differ by {np.abs(difference).max():.0f} "
        f"at most, {(difference != 0).mean():.2%} of them at all"
    )
    if not (error <= LATENTS and psnr >= VIDEO):
        sys.exit(1)


if __name__ == "__main__":
    main()
