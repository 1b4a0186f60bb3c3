"""Clips drawn from scenes, on any torch device. Lengths and speeds are in pixels and frames of a
square picture of SIDE pixels."""

import math

import torch

import captions

SIDE = 128
SPEED = (1.1, 1.5)  # pixels a frame
TURN = (0.060, 0.070)  # radians a frame, clockwise, for circles: a turn in 90 to 105 frames
ORBIT = (27.0, 32.0)  # radius of those circles
TRIANGLE = 0.7  # inner radius of a triangle whose circle has radius 1; its corner is at 1.4
WRAP, BOUNCE, CIRCLE = 0, 1, 2
DIRECTION = {
    **captions.AXES,
    "circle": (0, 0),
    "bounce-x": (1, 0),
    "bounce-y": (0, 1),
    "bounce-diagonal": (1, 1),
}


def _parameters(scenes, objects, device):
    """What doesn't depend on chance: [B, objects, 8] of shape, motion's kind, direction, size and
    colour, and backgrounds [B, 3]; a scene of fewer objects repeats its last one with size 0."""
    rows = []
    for scene in scenes:
        for i in range(objects):
            o = scene["objects"][min(i, len(scene["objects"]) - 1)]
            kind = (
                CIRCLE if o["motion"] == "circle" else BOUNCE if "bounce" in o["motion"] else WRAP
            )
            there = i < len(scene["objects"])
            size = captions.SIZES[o["size"]] if o["size"] else -1.0
            rows.append(
                [
                    captions.SHAPES.index(o["shape"]),
                    kind,
                    *DIRECTION[o["motion"]],
                    size if there else 0.0,
                    *captions.COLOURS[o["colour"]],
                ]
            )
    table = torch.tensor(rows, device=device).view(len(scenes), objects, 8)
    background = torch.tensor(
        [captions.BACKGROUNDS[s["background"]] for s in scenes], device=device
    )
    return table, background


def _triangle_wave(x, span):
    """x folded into 0..span as by two mirrors; span may differ by element."""
    return span - ((x % (2 * span)) - span).abs()


def _centres(frames, kind, direction, reach, chance):
    """Paths [B, N objects, K tries, F, 2 (x, y)] from uniform numbers `chance` [B, N, K, 6].
    Bouncing objects keep their centre `reach` [B, N] pixels from the edges."""
    t = torch.arange(frames, device=chance.device, dtype=torch.float32)
    lerp = lambda lo, hi, u: lo + (hi - lo) * u
    speed = lerp(*SPEED, chance[..., 0])[..., None]
    length = direction.norm(dim=-1).clamp(min=1.0)[..., None]
    step = speed / length[..., None, :] * direction[..., None, :]  # [B, N, K, 2]
    start = chance[..., 1:3]  # 0..1
    sign = torch.where(chance[..., 3:5] < 0.5, -1.0, 1.0)

    wrap = (start * SIDE)[..., None, :] + step[..., None, :] * t[:, None]
    reach = reach[..., None, None, None]
    span = SIDE - 2 * reach
    walk = (start[..., None, :] * span) + (step * sign)[..., None, :] * t[:, None]
    bounce = reach + _triangle_wave(walk, span)

    angle = (2 * math.pi * start[..., :1]) + lerp(
        *TURN, chance[..., 0:1]
    ) * t  # y points down: clockwise
    orbit = lerp(*ORBIT, chance[..., 5:6])
    middle = SIDE / 2 + 12.0 * (chance[..., 3:5] - 0.5)
    circle = middle[..., None, :] + orbit[..., None] * torch.stack((angle.cos(), angle.sin()), -1)

    kind = kind[..., None, None, None]
    return torch.where(kind == WRAP, wrap, torch.where(kind == BOUNCE, bounce, circle))


def _choose_apart(paths, radius):
    """Of K tries the paths on which the two objects hide one another least. [B, 2, K, F, 2] -> [B,
    2, F, 2]"""
    gap = (paths[:, 0] - paths[:, 1] + SIDE / 2) % SIDE - SIDE / 2
    apart = (gap.norm(dim=-1) > 1.1 * radius.sum(1)[:, None, None]).float()  # [B, K, F]
    quarters = torch.stack([q.mean(-1) for q in apart.chunk(4, dim=-1)], -1)
    best = quarters.amin(-1).argmax(-1)  # [B]
    return paths[torch.arange(len(best), device=best.device), :, best]


def _coverage(centre, radius, shape):
    """How much of each pixel a shape covers, 0..1 with edges two pixels soft. centre [B, F, 2],
    radius [B], shape [B] -> [B, F, SIDE, SIDE]. The picture's left continues at its right, its top
    at its bottom."""
    u = torch.arange(SIDE, device=centre.device) + 0.5
    wrapped = lambda d: (d + SIDE / 2) % SIDE - SIDE / 2
    x = wrapped(u - centre[..., 0:1])[..., None, :]  # [B, F, 1, SIDE]
    y = wrapped(u - centre[..., 1:2])[..., :, None]  # [B, F, SIDE, 1]
    r = radius[:, None, None, None]
    shape = shape[:, None, None, None]
    circle = (x * x + y * y).sqrt() - r
    square = torch.maximum(x.abs(), y.abs()) - 0.88 * r
    slope = 0.866 * x.abs() - 0.5 * y  # equilateral, a corner up
    triangle = torch.maximum(y, slope) - TRIANGLE * r
    distance = torch.where(shape == 0, circle, torch.where(shape == 1, square, triangle))
    edge = (0.5 - 0.5 * distance).clamp(0, 1)
    return edge * edge * (3 - 2 * edge)


def render(scenes, frames, device, seed, tries=8, objects=2):
    """Draws one clip a scene: [B, 3, F, SIDE, SIDE] in -1..1. Of `tries` paths those are taken on
    which two objects hide one another least; scenes of more than two want tries=1."""
    g = torch.Generator("cpu").manual_seed(seed)
    table, background = _parameters(scenes, objects, device)
    chance = torch.rand(len(scenes), objects, tries, 6, generator=g).to(device)
    vary = torch.rand(len(scenes), objects, 2, generator=g).to(device)
    shape, kind, direction, size = table[..., 0], table[..., 1], table[..., 2:4], table[..., 4]
    names = torch.tensor(list(captions.SIZES.values()), device=device)
    size = torch.where(size < 0, names[(vary[..., 1] * len(names)).long()], size)
    radius = size * (0.95 + 0.1 * vary[..., 0])
    reach = radius * torch.where(shape == 2, 2 * TRIANGLE, 1.0)
    paths = _centres(frames, kind, direction, reach, chance)
    path = _choose_apart(paths, radius) if tries > 1 else paths[:, :, 0]
    video = background[:, :, None, None, None].expand(-1, -1, frames, SIDE, SIDE)
    for i in range(objects):
        there = (radius[:, i] > 0).float().view(-1, 1, 1, 1, 1)
        alpha = there * _coverage(path[:, i], radius[:, i], shape[:, i])[:, None]
        video = torch.lerp(video, table[:, i, 5:8][:, :, None, None, None], alpha)
    return video * 2 - 1
