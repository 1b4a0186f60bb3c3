"""Latents of drawn clips, encoded beforehand: by the training itself, or by this program beside it.

    python bank.py --work DIR --out FOLDER --seconds 500

writes FOLDER/000000.safetensors and so on, 512 clips each, until the time is up. Another GPU may do
it: a training with --bank FOLDER takes what is there and looks for more. Some 250 clips a second on
an H100."""

import argparse
import pathlib
import random
import time

import torch
from safetensors.torch import load_file, save_file

import captions
import clips
import text
import vae as wan_vae
from common import channels_last, rounded

BATCH, CHUNK = 16, 512
TWO = 0.4    # share of clips with two objects, whose loss is more than three times that of one


def load_vae(work, device):
    """The VAE with the rounded weights that are published, ready to encode."""
    vae = wan_vae.VAE().to(device).requires_grad_(False)
    vae.load_state_dict(load_file(work / "vae.safetensors", device))
    rounded(vae)
    return channels_last(vae) if device == "cuda" else vae


@torch.no_grad()
def encode_clips(vae, tokenizer, rng, count, frames, device):
    """Latents [count, 16, T, Y, X] bf16, not normalised, and ids [count, L] of new clips of
    `frames` frames."""
    scenes = [captions.draw_scene(rng, False, TWO) for _ in range(count)]
    video = clips.render(scenes, frames, device, rng.randrange(1 << 30))
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        latents = vae.encode(video)[0].to(torch.bfloat16)
    return latents, tokenizer(
        [captions.write(s, rng.randrange(len(captions.TEMPLATES))) for s in scenes]
    )


class Bank:
    """Clips to draw from: its own and those of `folder`, where there may be more and more."""

    def __init__(self, folder, device):
        self.folder, self.device, self.seen = folder, device, set()
        self.latents, self.ids = [], []

    def fill(self, work, tokenizer, count, seconds, frames, seed):
        """Encodes `count` clips, or as many as `seconds` allow."""
        begin, rng, vae = time.time(), random.Random(seed), load_vae(work, self.device)
        while self.size() < count and (not self.latents or time.time() - begin < seconds):
            latents, ids = encode_clips(vae, tokenizer, rng, min(count, BATCH), frames, self.device)
            self.latents.append(latents), self.ids.append(ids.to(self.device))
            if self.device == "cuda":
                torch.cuda.synchronize()
        self._join()

    def look(self):
        """Takes the folder's new files."""
        new = sorted(set(self.folder.glob("*.safetensors")) - self.seen) if self.folder else []
        for path in new:
            chunk = load_file(path, self.device)
            self.latents.append(chunk["latents"]), self.ids.append(chunk["ids"])
        self.seen.update(new)
        self._join()

    def _join(self):
        if len(self.latents) > 1:
            self.latents, self.ids = [torch.cat(self.latents)], [torch.cat(self.ids)]

    def size(self):
        return sum(len(ids) for ids in self.ids)

    def draw(self, count):
        at = torch.randint(self.size(), (count,), device=self.device)
        return self.latents[0][at].float(), self.ids[0][at]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument(
        "--small", action="store_true", help="a few short clips, to try the program"
    )
    args = parser.parse_args()
    begin = time.time()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 5
    torch._dynamo.config.suppress_errors, torch._dynamo.config.recompile_limit = True, 64
    if device == "cuda":
        wan_vae.norm_silu = torch.compile(wan_vae.norm_silu, dynamic=True)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = text.Tokenizer((args.work / "spiece.model").read_bytes())
    vae, rng = load_vae(args.work, device), random.Random(time.time_ns())
    batch, chunk, frames = (1, 2, 9) if args.small else (BATCH, CHUNK, 81)
    number = len(list(args.out.glob("*.safetensors")))
    while time.time() - begin < args.seconds:
        parts = [
            encode_clips(vae, tokenizer, rng, batch, frames, device) for _ in range(chunk // batch)
        ]
        latents, ids = (torch.cat(p).cpu() for p in zip(*parts))
        path = args.out / f"{number:06}.part"
        save_file({"latents": latents, "ids": ids}, path)
        path.rename(path.with_suffix(".safetensors"))  # nobody reads half a file
        number += 1
    print(f"{number * chunk} clips, {time.time() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
