"""Latents of drawn clips, encoded beforehand: by the training itself, or by this program beside it.

    python bank.py --work DIR --out FOLDER --seconds 500

writes 512 clips a file into FOLDER until the time is up, and first held.safetensors, clips of
combinations never trained to measure the loss with. Several may do it at once: a training with
--bank FOLDER takes what is there and looks for more. Some 250 clips a second on an H100."""

import time

BEGIN = time.time()  # --seconds has the imports too, 20 s on a new machine

import argparse
import os
import pathlib
import random

import torch
from safetensors.torch import load_file, save_file

import captions
import clips
import text
import vae as wan_vae
from common import channels_last, rounded

BATCH, CHUNK = 16, 512
CAPACITY = 65536  # clips, 11 GB: more push the oldest out
HELD = 256  # clips kept back, half of them of one object, half of two
TWO = 0.75  # share of clips with two objects, whose loss is three times that of one
# What was learned least in run 1 comes twice, circles three times.
OFTEN = ["circle", "circle", "bounce-diagonal", *(m for m in captions.MOTIONS if "-" in m[2:5])]


def load_vae(work, device):
    """The VAE with the rounded weights that are published, ready to encode."""
    vae = wan_vae.VAE().to(device).requires_grad_(False)
    vae.load_state_dict(load_file(work / "vae.safetensors", device))
    rounded(vae)
    return channels_last(vae) if device == "cuda" else vae


@torch.no_grad()
def encode_clips(vae, tokenizer, rng, scenes, frames, device):
    """Latents [B, 16, T, Y, X] bf16, not normalised, and ids [B, L] of new clips of B scenes,
    `frames` frames each."""
    video = clips.render(scenes, frames, device, rng.randrange(1 << 30))
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        latents = vae.encode(video)[0].to(torch.bfloat16).contiguous()
    texts = [captions.write(s, rng.randrange(len(captions.TEMPLATES))) for s in scenes]
    return latents, tokenizer(texts).to(device)


def new_scenes(rng, count):
    return [captions.draw_scene(rng, False, TWO, OFTEN) for _ in range(count)]


def held_clips(vae, tokenizer, count, frames, device):
    """Latents and ids of `count` clips, always the same, of combinations never trained."""
    rng = random.Random(4321)
    scenes = [captions.draw_scene(rng, True, two) for two in (0, 1) for _ in range(count // 2)]
    parts = [
        encode_clips(vae, tokenizer, rng, scenes[i : i + BATCH], frames, device)
        for i in range(0, count, BATCH)
    ]
    return tuple(torch.cat(p) for p in zip(*parts))


class Bank:
    """Clips to draw from, on the device: latents [N, 16, T, Y, X] bf16 and ids [N, L], of which the
    first `size` are there. They stay where they are, for a CUDA graph that reads them."""

    def __init__(self, folder, capacity, frames, device):
        self.folder, self.device, self.seen, self.put = folder, device, set(), 0
        y = clips.SIDE // 8
        shape = (capacity, 16, (frames + 3) // 4, y, y)
        self.latents = torch.empty(shape, dtype=torch.bfloat16, device=device)
        self.ids = torch.zeros(capacity, text.LENGTH, dtype=torch.long, device=device)
        self.size = torch.zeros((), dtype=torch.long, device=device)

    def add(self, latents, ids):
        """Takes clips; the newest take the place of the oldest."""
        at = (torch.arange(len(ids)) + self.put).remainder(len(self.ids)).to(self.device)
        self.latents[at], self.ids[at] = latents.to(self.device), ids.to(self.device)
        self.put += len(ids)
        self.size.fill_(min(self.put, len(self.ids)))

    def fill(self, vae, tokenizer, count, seconds, frames, seed):
        """Encodes `count` clips, or as many as `seconds` allow."""
        begin, rng = time.time(), random.Random(seed)
        while self.put < count and (not self.put or time.time() - begin < seconds):
            scenes = new_scenes(rng, min(count, BATCH))
            self.add(*encode_clips(vae, tokenizer, rng, scenes, frames, self.device))
            if self.device == "cuda":
                torch.cuda.synchronize()

    def look(self):
        """Takes the folder's new files."""
        new = set(self.folder.glob("[0-9]*.safetensors")) - self.seen if self.folder else []
        for path in sorted(new):
            chunk = load_file(path)
            self.add(chunk["latents"], chunk["ids"])
        self.seen.update(new)

    def draw(self, count):
        """Latents [count, 16, T, Y, X] bf16 and ids [count, L], without asking the device."""
        at = (torch.rand(count, device=self.device) * self.size).long()
        at = torch.minimum(at, self.size - 1)
        return self.latents[at], self.ids[at]


def save(path, latents, ids):
    """Nobody reads half a file."""
    part = path.with_suffix(f".{os.getpid()}")
    save_file({"latents": latents.cpu(), "ids": ids.cpu()}, part)
    part.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument(
        "--small", action="store_true", help="a few short clips, to try the program"
    )
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 5
    torch._dynamo.config.suppress_errors, torch._dynamo.config.recompile_limit = True, 64
    if device == "cuda":
        wan_vae.norm_silu = torch.compile(wan_vae.norm_silu, dynamic=True)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = text.Tokenizer((args.work / "spiece.model").read_bytes())
    vae, rng = load_vae(args.work, device), random.Random(time.time_ns())
    batch, chunk, frames = (1, 2, 9) if args.small else (BATCH, CHUNK, 81)
    if not (args.out / "held.safetensors").exists():
        held = held_clips(vae, tokenizer, 2 if args.small else HELD, frames, device)
        save(args.out / "held.safetensors", *held)
    number = 0
    while time.time() - BEGIN < args.seconds:
        parts = [
            encode_clips(vae, tokenizer, rng, new_scenes(rng, batch), frames, device)
            for _ in range(chunk // batch)
        ]
        path = args.out / f"{number:06}-{os.getpid()}.safetensors"
        save(path, *(torch.cat(p) for p in zip(*parts)))
        number += 1
    print(f"{number * chunk} clips, {time.time() - BEGIN:.0f} s", flush=True)


if __name__ == "__main__":
    main()
