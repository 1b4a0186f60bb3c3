"""What both trainings use: learning rate, average of weights, rounding, contact sheets."""

import math
import struct
import zlib

import torch


def rate(fraction, step, warmup):
    """Learning rate over its peak: linear over `warmup` steps, then half a cosine to 0 over the
    whole run."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))


@torch.no_grad()
def channels_last(module):
    """Kernels of 3D convolutions with their channels last, which tensor cores want; clips then
    follow."""
    for p in module.parameters():
        if p.dim() == 5:
            p.data = p.data.contiguous(memory_format=torch.channels_last_3d)
    return module


def step_if_finite(optimizer, norm):
    """A step, but none where the gradient's norm is no number; on CUDA without waiting for the
    device."""
    if norm.is_cuda:
        optimizer.grad_scale, optimizer.found_inf = None, (~norm.isfinite()).float()
        optimizer.step()
    elif norm.isfinite():
        optimizer.step()


class Average:
    """An exponential average of a module's parameters, over fewer steps at the beginning."""

    def __init__(self, module, decay):
        self.decay, self.live = decay, list(module.parameters())
        self.restart()

    def restart(self):
        self.mean = [p.detach().clone() for p in self.live]

    def weight(self, step):
        """What the weights after `step` count in the average."""
        return 1 - min(self.decay, (step + 1) / (step + 20))

    @torch.no_grad()
    def update(self, step):
        torch._foreach_lerp_(self.mean, self.live, self.weight(step))

    @torch.no_grad()
    def blend(self, weight):
        """update() with a weight that is a tensor [] on the device."""
        change = torch._foreach_sub(self.live, self.mean)
        torch._foreach_mul_(change, weight)
        torch._foreach_add_(self.mean, change)

    @torch.no_grad()
    def swap(self):
        """Exchanges the average and the module's weights, in place."""
        kept = [p.clone() for p in self.live]
        torch._foreach_copy_(self.live, self.mean)
        torch._foreach_copy_(self.mean, kept)

    @torch.no_grad()
    def store(self, module):
        for p, mean in zip(module.parameters(), self.mean):
            p.copy_(mean)


@torch.no_grad()
def rounded(module):
    """Rounds the weights to bf16, as they are published; they stay f32 in memory."""
    for p in module.parameters():
        p.copy_(p.to(torch.bfloat16).float())


def save_sheet(path, videos, columns=9):
    """A PNG of `columns` frames, evenly spaced, of each of `videos` [3, F, H, W] in -1..1."""
    rows = []
    for video in videos:
        at = torch.linspace(0, video.shape[1] - 1, columns).round().long().tolist()
        rows.append(torch.cat([video[:, i] for i in at], -1))
    picture = (
        ((torch.cat(rows, 1).float().cpu() * 0.5 + 0.5).clamp(0, 1) * 255)
        .round()
        .byte()
        .permute(1, 2, 0)
    )
    height, width, _ = picture.shape
    lines = (
        torch.cat((torch.zeros(height, 1, dtype=torch.uint8), picture.reshape(height, -1)), 1)
        .numpy()
        .tobytes()
    )

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(lines, 6))
            + chunk(b"IEND", b"")
        )
