"""Generates videos of captions never trained, by several kinds of attention, and lets the checker
judge.

    python evaluate.py --model ../tiny-wan --lvsa ../../build/lvsa --out DIR
        [--frames 81 161 321 481] [--methods dense riflex ...] [--captions 64] [--sweep]

Writes DIR/results.json, one row for each length and method, and DIR/<frames>-<method>.png with
frames of the first captions. Patterns come from `lvsa plan --json`; --plans FILE keeps them, for a
machine without lvsa."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the checker runs in a process a processor

import argparse
import collections
import concurrent.futures
import json
import multiprocessing
import pathlib
import random
import time

import numpy as np
import torch
from safetensors.torch import load_file

import captions
import check_video
import dit as wan_dit
import sample
import text
import vae as wan_vae
from common import channels_last, save_sheet

NO_ANCHORS = ["--n-first-frames", "0", "--key-frame-interval", "0"]
# name: (options of `lvsa plan`, or None for dense; keyframes rotate; RIFLEx)
METHODS = {
    "dense": (None, False, False),
    "riflex": (None, False, True),
    "lvsa-fixed": ([], False, False),
    "lvsa-rotating": ([], True, False),
    "lvsa-riflex": ([], True, True),
    "window-24": (["--window-size", "24"], True, False),
    "window-32": (["--window-size", "32"], True, False),
    "window-40-alone": (["--window-size", "40", *NO_ANCHORS], False, False),
    "window-40-first": (["--window-size", "40", "--key-frame-interval", "0"], False, False),
    "window-24-alone": (["--window-size", "24", *NO_ANCHORS], False, False),
    "scale-1.5": (["--sparsity-scale", "1.5"], True, False),
    "scale-0.75": (["--sparsity-scale", "0.75"], True, False),
}
ATTRIBUTES = ("present", "colour", "shape", "motion", "background")


class Plans:
    """Plans from `lvsa`, kept in a file."""

    def __init__(self, lvsa, path):
        self.lvsa, self.path = lvsa, path
        self.kept = json.loads(path.read_text()) if path and path.exists() else {}

    def get(self, frames, options, rotate):
        key = f"{frames} {' '.join(options)} {'rotating' if rotate else 'fixed'}"
        if key not in self.kept:
            full = sample.plans_of(self.lvsa, frames, options, rotate)
            self.kept[key] = [{k: p[k] for k in ("csr", "patches_per_frame", "kfi")} for p in full]
            if self.path:
                self.path.write_text(json.dumps(self.kept, separators=(",", ":")))
        return self.kept[key]


class Checkpoint:
    """An exported checkpoint on a device."""

    def __init__(self, directory, device):
        shards = sorted((directory / "transformer").glob("*.safetensors"))
        self.device = device
        self.model = wan_dit.DiT()
        self.model.load_state_dict({k: v.float() for s in shards for k, v in load_file(s).items()})
        self.tokenizer = text.Tokenizer((directory / "tokenizer/spiece.model").read_bytes())
        self.encoder = text.make_encoder(self.tokenizer.size())
        kept = load_file(directory / "text_encoder/model.safetensors")
        self.encoder.load_state_dict({k: v.float() for k, v in kept.items()}, strict=False)
        self.vae = wan_vae.VAE()
        kept = load_file(directory / "vae/diffusion_pytorch_model.safetensors")
        self.vae.load_state_dict({k: v.float() for k, v in kept.items()})
        for part in (self.model, self.encoder, self.vae):
            part.to(device).eval().requires_grad_(False)
        config = json.loads((directory / "vae/config.json").read_text())
        self.mean, self.std = (
            torch.tensor(config[k], device=device).view(1, -1, 1, 1, 1)
            for k in ("latents_mean", "latents_std")
        )
        self.lvsa = json.loads((directory / "lvsa.json").read_text())
        if device == "cuda":
            channels_last(self.vae)
            wan_vae.norm_silu = torch.compile(wan_vae.norm_silu, dynamic=True)
            wan_dit.attend_frames = torch.compiler.disable(wan_dit.attend_frames)
            for block in self.model.blocks:
                block.compile()

    def latents(self, prompts, frames, seed, **options):
        keys = ("steps", "guidance", "flow_shift", "negative_prompt")
        steps, guidance, shift, negative = (options.pop(k, self.lvsa[k]) for k in keys)
        return sample.generate(
            self.model,
            self.encoder,
            self.tokenizer,
            prompts,
            (frames + 3) // 4,
            steps,
            guidance,
            shift,
            seed,
            negative=negative,
            **options,
        )

    @torch.no_grad()
    def decode(self, z):
        """One video [F, H, W, 3] uint8 for each latent."""
        at_once = max(1, 1000 // (4 * z.shape[2]))
        for part in (z * self.std + self.mean).split(at_once):
            with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
                video = self.vae.decode(part)
            video = (video.float().clamp(-1, 1) * 0.5 + 0.5).mul(255).to(torch.uint8)
            yield from video.permute(0, 2, 3, 4, 1).cpu().numpy()


def draw_captions(count, seed=2024):
    rng = random.Random(seed)
    return [
        captions.write(captions.draw_scene(rng, True), i % len(captions.TEMPLATES))
        for i in range(count)
    ]


def by_quarter(reports, attribute):
    """Mean over reports, [4]; None where there is no report."""
    return (
        [float(np.mean([r["quarters"][q][attribute] for r in reports])) for q in range(4)]
        if reports
        else None
    )


def summary(reports):
    """Means of the reports by quarter, those of captions with one object and with two, and how many
    videos were wrong (in quarters of them) of those that asked for a thing."""
    objects = [captions.read(r["caption"])["objects"] for r in reports]
    row = {a: by_quarter(reports, a) for a in (*ATTRIBUTES, "speed")}
    for name, count in (("one", 1), ("two", 2)):
        some = [r for r, o in zip(reports, objects) if len(o) == count]
        row[f"{name}_object"] = {a: by_quarter(some, a) for a in ("colour", "shape", "motion")}
    row.update({a: float(np.mean([r[a] for r in reports])) for a in ("freeze", "loop")})
    for attribute in ("colour", "shape", "motion"):
        wrong, asked = collections.Counter(), collections.Counter()
        for r, o in zip(reports, objects):
            if len(o) == 1:
                asked[o[0][attribute]] += 1
                wrong[o[0][attribute]] += 1 - np.mean([q[attribute] for q in r["quarters"]])
        row[f"{attribute}_wrong"] = {
            k: f"{wrong[k]:.1f} of {asked[k]}" for k in sorted(asked) if wrong[k] > 0
        }
    return row


def run_cell(checkpoint, pool, plans, prompts, frames, method, at_once, **options):
    """(seconds of denoising, futures of the checker's reports, first videos)."""
    plan, rotate, riflex = METHODS[method]
    pattern = (
        None if plan is None else sample.Pattern(plans.get(frames, plan, rotate), checkpoint.device)
    )
    seconds, futures, first = 0.0, [], []
    if checkpoint.device == "cuda":  # compiles for this length before the time is taken
        checkpoint.latents(
            prompts[:at_once], frames, 0, pattern=pattern, riflex=riflex, **{**options, "steps": 1}
        )
    for i in range(0, len(prompts), at_once):
        some = prompts[i : i + at_once]
        begin = time.time()
        z = checkpoint.latents(some, frames, 10000 + i, pattern=pattern, riflex=riflex, **options)
        if checkpoint.device == "cuda":
            torch.cuda.synchronize()
        seconds += time.time() - begin
        for video, prompt in zip(checkpoint.decode(z), some):
            futures.append(pool.submit(check_video.check, video, prompt))
            if len(first) < 8:
                first.append(video)
    return seconds, futures, first


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--lvsa", default="lvsa")
    parser.add_argument("--plans", type=pathlib.Path)
    parser.add_argument("--frames", type=int, nargs="+", default=[81, 161, 321, 481])
    parser.add_argument("--methods", nargs="+", default=list(METHODS)[:5], choices=list(METHODS))
    parser.add_argument("--captions", type=int, default=64)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--at-once", type=int, default=64, help="videos in one batch")
    parser.add_argument(
        "--sweep", action="store_true", help="other guidance and shifts at the model's length, too"
    )
    parser.add_argument(
        "--seconds", type=float, default=1e9, help="start nothing new after so long"
    )
    args = parser.parse_args()
    if not (args.model / "model_index.json").exists():
        parser.error(f"{args.model}: no checkpoint; the model's files are wanted there")
    begin = time.time()
    args.out.mkdir(parents=True, exist_ok=True)
    pool = concurrent.futures.ProcessPoolExecutor(
        max(1, min(14, os.cpu_count() - 2)), multiprocessing.get_context("fork")
    )
    list(pool.map(abs, range(64)))  # the processes start before the device is touched
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.suppress_errors, torch._dynamo.config.recompile_limit = True, 64
    checkpoint = Checkpoint(args.model, device)
    plans = Plans(args.lvsa, args.plans)
    horizon = checkpoint.lvsa["frames"]
    prompts = draw_captions(2 * args.captions)  # all at the model's own length, half beyond
    fixed = {"steps": args.steps} if args.steps else {}
    cells = [
        (frames, method, fixed)
        for frames in args.frames
        for method in args.methods
        if frames > horizon or method == "dense"
    ]
    if args.sweep:
        cells[1:1] = [
            (horizon, "dense", {**fixed, "guidance": g, "flow_shift": s})
            for g, s in ((2.0, 3.0), (5.0, 3.0), (3.0, 5.0), (5.0, 5.0), (3.0, 2.0), (3.0, 8.0))
        ]
    waiting, rows = [], []

    def collect(least):
        while len(waiting) > least:
            row, futures = waiting.pop(0)
            row.update(summary([f.result() for f in futures]))
            rows.append(row)
            (args.out / "results.json").write_text(json.dumps(rows, indent=1))
            print(json.dumps(row), f"{time.time() - begin:.0f}s", flush=True)

    for frames, method, options in cells:
        if time.time() - begin > args.seconds:
            print(f"out of time before {frames} {method}", flush=True)
            break
        some = prompts[: None if frames <= horizon and options == fixed else args.captions]
        seconds, futures, first = run_cell(
            checkpoint, pool, plans, some, frames, method, args.at_once, **options
        )
        row = {
            "frames": frames,
            "method": method,
            "videos": len(some),
            "seconds": round(seconds, 2),
            **options,
        }
        waiting.append((row, futures))
        name = f"{frames}-{method}" + "".join(f"-{k}{v}" for k, v in options.items())
        videos = [torch.from_numpy(v).permute(3, 0, 1, 2).float() / 127.5 - 1 for v in first]
        save_sheet(args.out / f"{name}.png", videos)
        collect(1)
    collect(0)


if __name__ == "__main__":
    main()
