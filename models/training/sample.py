"""Makes latents: the UniPC schedule as diffusers configures it for Wan, guidance, dense or sparse
attention."""

import json
import math
import subprocess

import torch

import dit as wan_dit
import text


class UniPC:
    """Order 2, bh2, predicting the clean sample, on flow sigmas with a shift; scalars in f32 as in
    diffusers."""

    def __init__(self, steps, shift):
        s = torch.linspace(1, 1 / 1000, steps + 1, dtype=torch.float64)[:-1]
        s = shift * s / (1 + (shift - 1) * s)
        if abs(s[0].item() - 1) < 1e-6:
            s[0] -= 1e-6
        self.timesteps = (1000 * s).trunc()
        self.sigma = torch.cat((s, torch.zeros(1, dtype=torch.float64))).float()
        self.log_snr = (1 - self.sigma).log() - self.sigma.log()
        self.past, self.last, self.order = [], None, 1

    def _ratio(self, to, from_):
        """How `past` steps lie behind: (lambda[from - 1] - lambda[from]) / h of a step from `from_`
        to `to`."""
        h = self.log_snr[to] - self.log_snr[from_]
        return ((self.log_snr[from_ - 1] - self.log_snr[from_]) / h).item()

    def step(self, i, z, velocity):
        """Latents after step i, from latents z before it and the velocity there."""
        sigma, alpha = self.sigma, 1 - self.sigma
        clean = z - sigma[i].item() * velocity
        if i > 0:
            h = (self.log_snr[i] - self.log_snr[i - 1]).item()
            e = math.expm1(-h)
            m1 = self.past[0]
            change = 0.5 * (clean - m1)
            if self.order == 2:
                r = self._ratio(i, i - 1)
                g1 = e / -h - 1
                g2 = g1 / -h - 0.5
                b1, b2 = g1 / e, 2 * g2 / e
                r2 = (b2 - r * b1) / (1 - r)
                change = (b1 - r2) * (self.past[1] - m1) / r + r2 * (clean - m1)
            z = (sigma[i] / sigma[i - 1]).item() * self.last - alpha[i].item() * e * (m1 + change)
        self.last = z
        self.order = min(2, len(sigma) - 1 - i, i + 1)
        h = (self.log_snr[i + 1] - self.log_snr[i]).item()
        e = math.expm1(-h)
        ahead = 0.5 * (self.past[0] - clean) / self._ratio(i + 1, i) if self.order == 2 else 0.0
        self.past = [clean, *self.past[:1]]
        return (sigma[i + 1] / sigma[i]).item() * z - alpha[i + 1].item() * e * (clean + ahead)


class Pattern:
    """The frames that each frame attends to, by rotation, as `lvsa plan --json` gives them."""

    def __init__(self, plans, device):
        self.rotations = []
        for plan in plans:
            start, column = plan["csr"]["indptr"], plan["csr"]["indices"]
            rows = [column[a:b] for a, b in zip(start, start[1:])]
            counts = torch.tensor([len(r) for r in rows])
            frames = torch.tensor([r + [0] * (int(counts.max()) - len(r)) for r in rows])
            self.rotations.append((frames.to(device), counts.to(device), plan["patches_per_frame"]))

    def at(self, step):
        return self.rotations[step % len(self.rotations)]


def plans_of(lvsa, frames, options, rotate):
    """Plans for all rotations of the keyframes (or for the first) of 128 x 128 pixels, by the
    program `lvsa`."""

    def plan(offset):
        command = [
            lvsa,
            "plan",
            "-q",
            "--family",
            "wan2.1-1.3b",
            "--num-frames",
            str(frames),
            "-H",
            "128",
            "-W",
            "128",
            *options,
            "--rotation-offset",
            str(offset),
            "--json",
        ]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    first = plan(0)
    return [first] + [plan(offset) for offset in range(1, first["kfi"] or 1)] if rotate else [first]


def riflex_pair(frames, horizon=21, head_dim=64):
    """The time axis' pair whose period is nearest to the horizon, and its frequency of one turn a
    video."""
    n = head_dim // 2 - 2 * (head_dim // 6)
    periods = [2 * math.pi * 10000 ** (j / n) for j in range(n)]
    pair = min(range(n), key=lambda j: abs(periods[j] - horizon))
    return pair, 2 * math.pi / frames


@torch.no_grad()
def generate(
    model,
    encoder,
    tokenizer,
    captions,
    latent_frames,
    steps,
    guidance,
    shift,
    seed=0,
    pattern=None,
    riflex=False,
    negative="",
    size=16,
):
    """Normalised latents [B, 16, T, size, size] of B captions, on the model's device; seeds are
    seed, seed + 1 ..."""
    device = next(model.parameters()).device
    noise = [
        torch.randn(
            1, 16, latent_frames, size, size, generator=torch.Generator("cpu").manual_seed(seed + i)
        )
        for i in range(len(captions))
    ]
    z = torch.cat(noise).to(device)
    guided = guidance > 1
    texts = [*captions, *[negative] * len(captions)] if guided else list(captions)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
    rows, bias = wan_dit.pad_text(*text.encode(encoder, tokenizer(texts).to(device)))
    table = wan_dit.rotary_table(
        latent_frames,
        size // 2,
        size // 2,
        model.head_dim,
        device,
        riflex_pair(latent_frames) if riflex else None,
    )
    schedule = UniPC(steps, shift)
    for i, t in enumerate(schedule.timesteps.tolist()):
        frames = pattern.at(i) if pattern else None
        both = torch.cat((z, z)) if guided else z
        with autocast:
            v = model(both, torch.full((len(both),), t, device=device), rows, bias, table, frames)
        if guided:
            told, free = v.chunk(2)
            v = free + guidance * (told - free)
        z = schedule.step(i, z, v)
    return z
