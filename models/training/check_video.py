"""Does a video show what its caption says? Looks at each quarter of its length.

    python3 check_video.py VIDEO --caption "a red circle moving left on a white background"

Python and numpy; .y4m files are read directly, others through the program `ffmpeg`. Prints one JSON
object; with --require it exits 1 unless colour and motion are right in the first and last quarter.

For each quarter, over all objects of the caption:
    present     the object can be seen in nine of ten frames (three of four, if there are two)
    colour      present, and 85 % of what isn't background has a colour of the caption
    shape       present, and most frames are nearest to its shape, overlapping it by 75 % (IoU)
    motion      present, and it moves as said: direction or sense of turning, back at the edges
    background  the commonest colour is that of the caption
    speed       pixels a frame, a mean over the objects
and over the whole video:
    clean       share of frames with the caption's background, all but 2 % of what is before it in a
                colour of the caption
    first_clean whether the first frame, which is alone in its latent frame, is one of these
    freeze      share of frames in which nothing moves (less than 0.2 pixels a frame)
    loop        1 if a later part repeats an earlier one exactly, 0 if it is like any other part;
                drawn clips that wrap or turn repeat too, so compare with what they get
"""

import argparse
import json
import math
import subprocess
import sys

import numpy as np

import captions

LAG = 4  # frames over which a velocity is measured
LEAST_AREA = 100  # pixels: the smallest triangle drawn has 330
APART = 50  # of 255, in one channel: isn't background
CLEAN = 0.98  # of what isn't background: 0.997 in the worst frame drawn, and a blotch is seen
# Angle of the motion, its period, the share of frames that must show it, the axes with walls.
BOUNCES = {
    "bounce-x": (0, math.pi, 0.75, [0]),
    "bounce-y": (math.pi / 2, math.pi, 0.75, [1]),
    "bounce-diagonal": (math.pi / 4, math.pi / 2, 0.6, [0, 1]),
}


def psnr(noise):
    """dB of pictures of bytes, from the mean square of their differences."""
    return 10 * np.log10(255**2 / noise) if noise else np.inf


# ---- reading -------------------------------------------------------------------------------------


def read_y4m(stream):
    """Frames [F, H, W, 3] uint8 of a YUV4MPEG2 stream of 8 bits, 4:2:0 or 4:4:4, BT.601 limited."""
    header = stream.readline().decode("ascii").split()
    if not header or header[0] != "YUV4MPEG2":
        raise ValueError("a YUV4MPEG2 stream is wanted")
    field = {item[0]: item[1:] for item in header[1:]}
    width, height, kind = int(field["W"]), int(field["H"]), field.get("C", "420jpeg")
    if not kind.startswith(("420", "444")) or kind[3:4] == "p":
        raise ValueError(f"colour space C{kind}: C420jpeg, C420mpeg2 or C444 is wanted")
    half = kind.startswith("420")
    ch, cw = ((height + 1) // 2, (width + 1) // 2) if half else (height, width)
    frames = []
    while stream.readline().startswith(b"FRAME"):
        data = np.frombuffer(stream.read(height * width + 2 * ch * cw), np.uint8)
        y, cb, cr = np.split(data, [height * width, height * width + ch * cw])
        y = (y.reshape(height, width).astype(np.float32) - 16) / 219
        chroma = [(c.reshape(ch, cw).astype(np.float32) - 128) / 224 for c in (cb, cr)]
        if half:
            chroma = [c.repeat(2, 0).repeat(2, 1)[:height, :width] for c in chroma]
        red, blue = y + 1.402 * chroma[1], y + 1.772 * chroma[0]
        rgb = np.stack((red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue), -1)
        frames.append((rgb.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    return np.stack(frames)


def read_video(path):
    """Frames [F, H, W, 3] uint8 of a file."""
    if path.endswith(".y4m"):
        with open(path, "rb") as stream:
            return read_y4m(stream)
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        path,
        "-pix_fmt",
        "yuv444p",
        "-f",
        "yuv4mpegpipe",
        "-",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        return read_y4m(process.stdout)


# ---- objects -------------------------------------------------------------------------------------


def _shrink(mask):
    """Pixels whose 3 x 3 neighbours are all set; the edges continue on the other side."""
    for axis in (-1, -2):
        mask = mask & np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return mask


def _nearness(picture, palette):
    """The greater the nearer: picture [..., 3] to each of palette [N, 3] -> [..., N]. What is left
    out of the squared distance is the same for all colours."""
    return picture @ (2 * palette.T) - (palette**2).sum(-1)


def _wrapped(d, size):
    return (d + size / 2) % size - size / 2


def _circular_mean(weight, size):
    """Mean position on a ring of `size` pixels: weight [F, size] -> [F]."""
    angle = (np.arange(size) + 0.5) * (2 * math.pi / size)
    return (
        np.arctan2(weight @ np.sin(angle), weight @ np.cos(angle))
        % (2 * math.pi)
        * (size / (2 * math.pi))
    )


class Track:
    """One object's mask [F, H, W] as area [F], centre [F, 2] (x, y) and velocity [F, 2] in
    pixels."""

    def __init__(self, mask):
        inner = _shrink(mask)
        self.mask = ~_shrink(~inner)  # without what is thinner than three pixels
        self.size = np.array(mask.shape[:0:-1], float)
        self.area = self.mask.sum((1, 2)).astype(float)
        self.centre = np.stack(
            (
                _circular_mean(self.mask.sum(1), mask.shape[2]),
                _circular_mean(self.mask.sum(2), mask.shape[1]),
            ),
            -1,
        )
        self.velocity = np.zeros_like(self.centre)
        step = _wrapped(self.centre[LAG:] - self.centre[:-LAG], self.size) / LAG
        self.velocity[:-LAG] = step
        self.velocity[-LAG:] = step[-1:]

    def whole(self, part):
        """Frames of `part` in which the object isn't hidden, by its area."""
        seen = self.area[part]
        good = part[seen >= max(LEAST_AREA, 0.85 * np.percentile(seen, 90))]
        both = good[np.isin(good + LAG, good) | (good + LAG > part[-1])]
        return good, both if len(both) >= 6 else good

    def shape_overlaps(self, frames):
        """IoU [N, 3] with a circle, a square and a triangle of the same area and centre."""
        h, w = self.mask.shape[1:]
        mask, area = self.mask[frames], self.area[frames][:, None, None]
        x = _wrapped(np.arange(w) + 0.5 - self.centre[frames, 0, None], w)[:, None, :]
        y = _wrapped(np.arange(h) + 0.5 - self.centre[frames, 1, None], h)[:, :, None]
        triangle = np.sqrt(area / (3 * math.sqrt(3)))
        templates = (
            x * x + y * y <= area / math.pi,
            np.maximum(np.abs(x), np.abs(y)) <= np.sqrt(area) / 2,
            np.maximum(y, 0.866 * np.abs(x) - 0.5 * y) <= triangle,
        )
        return np.stack(
            [(mask & t).sum((1, 2)) / np.maximum((mask | t).sum((1, 2)), 1) for t in templates], -1
        )


def _moves_as_said(motion, track, part):
    """Whether velocities of the frames `part` are those of `motion`."""
    v = track.velocity[part]
    speed = np.hypot(*v.T)
    if np.median(speed) < 0.5:
        return False
    v, centre = v[speed > 0.4], track.centre[part][speed > 0.4]
    angle = np.arctan2(v[:, 1], v[:, 0])
    if motion == "circle":
        turn = _wrapped(angle[LAG:] - angle[:-LAG], 2 * math.pi) / LAG
        return len(turn) > 0 and 0.03 < np.median(turn) < 0.12
    if motion in captions.AXES:
        x, y = captions.AXES[motion]
        off = np.abs(_wrapped(angle - math.atan2(y, x), 2 * math.pi))
        return (off < math.radians(25)).mean() >= 0.75
    edge = np.minimum(centre, track.size - centre)  # a bouncing centre never comes near an edge
    least = 0.35 * math.sqrt(np.median(track.area[part]))
    middle, period, share, axes = BOUNCES[motion]
    off = np.abs(_wrapped(angle - middle, period))
    return (off < math.radians(25)).mean() >= share and (edge[:, axes] > least).mean() >= 0.9


# ---- the report ----------------------------------------------------------------------------------


def _check_quarter(part, scene, tracks, share, background):
    """One row of the report; share [F]: of what isn't background, how much has a caption's
    colour."""
    row = {"present": True, "shape": True, "motion": True, "speed": 0.0, "seen_shapes": []}
    least = 0.9 if len(tracks) == 1 else 0.75
    for said, track in zip(scene["objects"], tracks):
        present = (track.area[part] >= LEAST_AREA).mean() >= least
        whole, moving = track.whole(part) if present else (part, part)
        overlaps = track.shape_overlaps(whole[::2])
        best = np.bincount(overlaps.argmax(1), minlength=3).argmax()
        shape = captions.SHAPES[best]
        row["present"] &= bool(present)
        row["shape"] &= bool(
            present and shape == said["shape"] and overlaps[:, best].mean() >= 0.75
        )
        row["motion"] &= bool(present and _moves_as_said(said["motion"], track, moving))
        row["speed"] += float(np.hypot(*track.velocity[moving].T).mean()) / len(tracks)
        row["seen_shapes"].append(shape)
    row["colour"] = bool(row["present"] and np.median(share[part]) >= 0.85)
    row["background"] = bool(np.mean(background[part]) >= 0.75)
    return row


def _loop(frames):
    """How much better the best lag between parts of a video fits than the middle one; see the
    top."""
    count, h, w = frames.shape[:3]
    small = (
        frames.reshape(count, 16, h // 16, 16, w // 16, 3)
        .mean((2, 4), dtype=np.float32)
        .reshape(count, -1)
    )
    gaps = [np.abs(small[lag:] - small[:-lag]).mean() for lag in range(24, count // 2 + 1)]
    return float(1 - min(gaps) / max(np.median(gaps), 1e-6)) if gaps else 0.0


def check(frames, caption):
    """The report on frames [F, H, W, 3] uint8, H and W multiples of 16; see the top of the file."""
    scene = captions.read(caption)
    named = list(captions.COLOURS)
    said = [o["colour"] for o in scene["objects"]]
    ours = [named.index(colour) for colour in said]
    palette = 255 * np.array(list(captions.COLOURS.values()), np.float32)
    backgrounds = 255 * np.array(list(captions.BACKGROUNDS.values()), np.float32)
    picture = frames.astype(np.float32)
    ground = np.median(picture[:, ::2, ::2].reshape(len(frames), -1, 3), axis=1)  # [F, 3]
    wanted = list(captions.BACKGROUNDS).index(scene["background"])
    background = _nearness(ground, backgrounds).argmax(-1) == wanted

    near = _nearness(picture, palette)  # [F, H, W, 6]
    to_ground = np.stack([_nearness(p, g[None])[..., 0] for p, g in zip(picture, ground)])
    core = _shrink(np.abs(picture - ground[:, None, None]).max(-1) > APART)
    right = np.isin(near.argmax(-1), ours) & core
    share = right.sum((1, 2)) / np.maximum(core.sum((1, 2)), 1)

    mine = near[..., ours]
    nearest = mine.argmax(-1)
    tracks = [Track((nearest == i) & (mine[..., i] > to_ground)) for i in range(len(said))]

    parts = np.array_split(np.arange(len(frames)), 4)
    report = {
        "frames": len(frames),
        "caption": caption,
        "quarters": [_check_quarter(p, scene, tracks, share, background) for p in parts],
    }
    speed = np.max([np.hypot(*t.velocity.T) * (t.area >= LEAST_AREA) for t in tracks], axis=0)
    report["freeze"] = float((speed < 0.2).mean())
    report["loop"] = _loop(frames)
    clean = (share >= CLEAN) & (np.abs(ground - backgrounds[wanted]).max(-1) <= APART)
    report["clean"] = float(clean.mean())
    report["first_clean"] = bool(clean[0])
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("--caption", required=True)
    parser.add_argument(
        "--require",
        action="store_true",
        help="exit 1 unless colour and motion are right in the first and last quarter",
    )
    args = parser.parse_args()
    report = check(read_video(args.video), args.caption)
    print(json.dumps(report))
    ends = report["quarters"][0], report["quarters"][-1]
    if args.require and not all(q["colour"] and q["motion"] for q in ends):
        sys.exit(1)


if __name__ == "__main__":
    main()
