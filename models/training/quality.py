"""docs/QUALITY.md: videos of captions never trained, at and beyond the model's length, by several
kinds of attention, made by the program itself and judged by check_video.py.

    python quality.py --lvsa ../../build/lvsa --model ../tiny-wan --out DIR --docs ../../docs
        [--captions 64] [--frames 81 161 321 481] [--methods ...] [--workers 20]
        [--device cuda:0 cuda:1] [--times]

Rows are kept in DIR/rows.json: what is there isn't made again, so that the work can be cut as short
as wanted, here by --seconds. Several devices take turns. --times then makes a video of each length
and kind alone on the first device, for the time of its steps, and keeps it in DIR/times.json, with
other devices' times. --write only writes the page of what there is. Python and numpy only.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the checker runs in a process a processor

import argparse
import concurrent.futures
import itertools
import json
import multiprocessing
import pathlib
import random
import re
import statistics
import subprocess
import tempfile
import threading
import time

import captions
import check_video

ALONE = ["--n-first-frames", "0", "--key-frame-interval", "0"]
SCALE_1 = ["--sparsity-scale", "1"]
SCALE_15 = ["--sparsity-scale", "1.5"]


def window(frames):
    return ["--window-size", str(frames)]


# name: (what the table calls it, options of `lvsa generate`)
KINDS = {
    "dense": ("dense", ["--dense"]),
    "riflex": ("dense, RIFLEx", ["--dense", "--riflex"]),
    "lvsa-fixed": ("LVSA, keyframes fixed", [*SCALE_1, "--no-rotate-keyframes"]),
    "lvsa": ("LVSA, keyframes rotating", SCALE_1),
    "lvsa-riflex": ("LVSA rotating, RIFLEx", [*SCALE_1, "--riflex"]),
    "scale-1.5": ("LVSA rotating, scale 1.5", SCALE_15),
}
# Made at four times the model's length only.
SETTINGS = {
    "scale-2": ("LVSA rotating, scale 2", ["--sparsity-scale", "2"]),
    "scale-3": ("LVSA rotating, scale 3", ["--sparsity-scale", "3"]),
    "phase-script": ("the scripts' phase of rotation", [*SCALE_1, "--rotation-phase", "script"]),
    "first-none": ("no first frames", [*SCALE_1, "--n-first-frames", "0"]),
    "window-24": ("window of 24", [*SCALE_1, *window(24)]),
    "window-32": ("window of 32", [*SCALE_1, *window(32)]),
    "window-40-first": (
        "window of 40, first frames",
        [*window(40), "--key-frame-interval", "0"],
    ),
    "window-28-alone": ("window of 28, no anchors", [*window(28), *ALONE]),
    "window-40-alone": ("window of 40, no anchors", [*window(40), *ALONE]),
    "window-56-alone": ("window of 56, no anchors", [*window(56), *ALONE]),
    "window-80-alone": ("window of 80, no anchors", [*window(80), *ALONE]),
    "opening": ("scale 1.5, trained opening", [*SCALE_15, "--trained-opening"]),
    "guidance-5": ("keyframes rotating, guidance 5", [*SCALE_1, "--guidance", "5"]),
}
METHODS = {**KINDS, **SETTINGS}
BESIDE = ["dense", "lvsa", "scale-1.5"]  # what the settings are compared with
COLOURS = ("#4d4d4d", "#999999", "#0072b2", "#d55e00", "#009e73", "#cc79a7")
SEED = 10000
TIMED_STEPS = 10
JUDGED = ("colour", "shape", "motion")
PAIRS = [  # what is compared caption by caption
    ("scale-1.5", "dense"),
    ("scale-1.5", "lvsa"),
    ("lvsa", "dense"),
    ("lvsa", "lvsa-fixed"),
    ("lvsa", "lvsa-riflex"),
    ("dense", "riflex"),
]


def draw_captions(count, seed=2024):
    rng = random.Random(seed)
    return [
        captions.write(captions.draw_scene(rng, True), i % len(captions.TEMPLATES))
        for i in range(count)
    ]


def beyond(horizon):
    """Frames of a video of four times as many latent frames."""
    return 4 * (horizon - 1) + 1


def generate(args, number, caption, frames, device, options, video):
    """One run of the program, whose seed is the caption's number's. Returns the steps' seconds."""
    run = subprocess.run(
        [args.lvsa, "generate", "--time-log", "-f", "-m", args.model, "-p", caption]
        + ["-S", str(SEED + number), "--num-frames", str(frames)]
        + ["--device", device, *options, "-o", video],
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if run.returncode:
        raise SystemExit(f"{args.lvsa} ended with {run.returncode}: {run.stderr.strip()[-500:]}")
    return [float(t) for t in re.findall(r"step=\d+ dt=([0-9.]+)s", run.stderr)]


class Work:
    """The videos to be made, and the rows of those that are."""

    def __init__(self, args):
        self.args, self.begin, self.lock = args, time.time(), threading.Lock()
        self.path = args.out / "rows.json"
        self.rows = json.loads(self.path.read_text()) if self.path.exists() else []

    def times(self):
        """What measure() has kept: lists of (frames, method, seconds a step), by device."""
        path = self.args.out / "times.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def cells(self, horizon):
        """(frames, method) of the tables' lines."""
        for frames in self.args.frames:
            for method in self.args.methods:
                wanted = frames > horizon or method == "dense"
                if wanted and (method in KINDS or frames == beyond(horizon)):
                    yield frames, method

    def jobs(self, horizon):
        """(caption's number, frames, method), all of one caption before the next."""
        there = {(r["number"], r["frames"], r["method"]) for r in self.rows}
        for number in range(self.args.captions):
            for cell in self.cells(horizon):
                if (number, *cell) not in there:
                    yield number, *cell

    def run(self, horizon):
        workers = self.args.workers
        context = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(workers, context) as judges:
            list(judges.map(abs, range(workers)))  # they start before there are threads
            with concurrent.futures.ThreadPoolExecutor(workers) as makers:
                devices = itertools.cycle(self.args.device)
                jobs = list(self.jobs(horizon))
                list(makers.map(lambda *job: self.one(*job, judges), jobs, devices))

    def one(self, job, device, judges):
        if time.time() - self.begin > self.args.seconds:
            return
        number, frames, method = job
        caption = draw_captions(number + 1)[number]
        with tempfile.TemporaryDirectory(dir=self.args.scratch) as directory:
            video = str(pathlib.Path(directory) / "video.y4m")
            begin = time.time()
            generate(self.args, number, caption, frames, device, METHODS[method][1], video)
            row = {"number": number, "frames": frames, "method": method, "caption": caption}
            row["seconds"] = round(time.time() - begin, 2)
            row.update(judges.submit(judge, video, caption).result())
        with self.lock:
            self.rows.append(row)
            self.path.write_text(json.dumps(self.rows))

    def measure(self, horizon):
        """Seconds of a step but the first, of one video of each length and kind, made alone."""
        device, caption = self.args.device[0], draw_captions(1)[0]
        times = self.times()
        cells = times[device_name(device)] = []
        with tempfile.TemporaryDirectory(dir=self.args.scratch) as directory:
            video = str(pathlib.Path(directory) / "video.y4m")
            for frames, method in self.cells(horizon):
                if method not in KINDS:
                    continue
                options = [*METHODS[method][1], "--steps", str(TIMED_STEPS)]
                took = generate(self.args, 0, caption, frames, device, options, video)
                cells.append([frames, method, statistics.mean(took[1:])])
        (self.args.out / "times.json").write_text(json.dumps(times))


def device_name(device):
    """What a page calls "cuda:1" or "auto"."""
    index = re.fullmatch(r"(?:cuda|auto)(?::(\d+))?", device)
    try:
        ask = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.check_output(ask, text=True).splitlines() if index else []
        return names[int(index[1] or 0)]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return f"the CPU, {os.cpu_count()} threads"


def judge(video, caption):
    return check_video.check(check_video.read_video(video), caption)


# ---- the page ------------------------------------------------------------------------------------


def objects_of(row):
    return len(captions.read(row["caption"])["objects"])


def score(rows, attribute, quarter):
    return sum(r["quarters"][quarter][attribute] for r in rows) / len(rows)


def throughout(rows):
    """Share of the videos in which everything is right in all quarters."""
    return sum(all(q[a] for q in r["quarters"] for a in JUDGED) for r in rows) / len(rows)


def table(rows, methods):
    """One line for each length and method, of rows that all have the same number of objects."""
    lines = [
        "| frames | attention | videos | colour | shape | motion | throughout | freeze | loop |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for frames in sorted({r["frames"] for r in rows}):
        for method in methods:
            some = [r for r in rows if (r["frames"], r["method"]) == (frames, method)]
            if not some:
                continue
            quarters = " | ".join(
                " ".join(f"{score(some, a, quarter):.2f}" for quarter in range(4)) for a in JUDGED
            )
            freeze, loop = (sum(r[k] for r in some) / len(some) for k in ("freeze", "loop"))
            lines.append(
                f"| {frames} | {METHODS[method][0]} | {len(some)} | {quarters} "
                f"| {throughout(some):.2f} | {freeze:.2f} | {loop:.2f} |"
            )
    return "\n".join(lines) + "\n"


def plot(rows, methods, title, value_of, horizon):
    """An SVG: value_of(rows) over the number of frames, a line a method; at the horizon all are
    dense."""
    frames = sorted({r["frames"] for r in rows})
    x = {f: 60 + 360 * i / max(1, len(frames) - 1) for i, f in enumerate(frames)}
    y = lambda value: 240 - 200 * value
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 290" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="680" height="290" fill="#fff"/>',
        f'<text x="60" y="20">{title}, all captions</text>',
    ]
    for value in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<path d="M60 {y(value)}H420" stroke="#ddd"/>'
            f'<text x="25" y="{y(value) + 4}">{value:g}</text>'
        )
    parts += [f'<text x="{x[f]}" y="260" text-anchor="middle">{f}</text>' for f in frames]
    parts.append('<text x="240" y="280" text-anchor="middle">frames</text>')
    for i, method in enumerate(methods):
        cells = {f: [r for r in rows if (r["frames"], r["method"]) == (f, method)] for f in frames}
        if horizon in cells:
            cells[horizon] = [r for r in rows if r["frames"] == horizon]
        points = [f"{x[f]:.0f} {y(value_of(c)):.1f}" for f, c in cells.items() if c]
        parts.append(
            f'<path d="M{"L".join(points)}" fill="none" stroke="{COLOURS[i]}" stroke-width="2"/>'
        )
        parts.append(
            f'<path d="M440 {40 + 20 * i}h20" stroke="{COLOURS[i]}" stroke-width="2"/>'
            f'<text x="468" y="{44 + 20 * i}">{METHODS[method][0]}</text>'
        )
    return "\n".join(parts + ["</svg>\n"])


PLOTS = {
    "throughout": ("right throughout", throughout),
    "colour": ("colour right in the last quarter", lambda rows: score(rows, "colour", -1)),
    "motion": ("motion right in the last quarter", lambda rows: score(rows, "motion", -1)),
}


def pairs(rows, first, second):
    """How many captions only the first method, and only the second, has right throughout."""
    one, other = (
        {r["number"]: throughout([r]) for r in rows if r["method"] == m} for m in (first, second)
    )
    both = one.keys() & other.keys()
    counts = sum(one[n] > other[n] for n in both), sum(one[n] < other[n] for n in both)
    return f"{counts[0]} : {counts[1]}" if both else ""


def by_length(title, lengths, lines):
    """A table with a column a length, of {name: cells}; names without any cell are left out."""
    row = lambda name, cells: f"| {name} | " + " | ".join(cells) + " |"
    head = [row(title, map(str, lengths)), "|---|" + "---|" * len(lengths)]
    return head + [row(name, cells) for name, cells in lines.items() if any(cells)]


def pairs_table(rows):
    """pairs() for each length."""
    parts = {f: [r for r in rows if r["frames"] == f] for f in sorted({r["frames"] for r in rows})}
    lines = {
        f"{METHODS[first][0]} : {METHODS[second][0]}": [
            pairs(part, first, second) for part in parts.values()
        ]
        for first, second in PAIRS
    }
    return by_length("only the first, only the second is right", parts, lines)


def milliseconds(seconds):
    return f"{1000 * seconds:.{0 if seconds >= 0.1 else 1}f}"


def times_table(device, cells):
    """Milliseconds of a step, a line a method, a column a length."""
    took = {(frames, method): milliseconds(seconds) for frames, method, seconds in cells}
    lengths = sorted({frames for frames, _ in took})
    lines = {name: [took.get((f, m), "") for f in lengths] for m, (name, _) in KINDS.items()}
    return by_length(f"ms a step, {device}", lengths, lines)


def page(rows, times, horizon, docs):
    kinds = [m for m in KINDS if any(r["method"] == m for r in rows)]
    lines = ["# Quality beyond the training length", ""]
    lines += (pathlib.Path(__file__).parent / "quality.md").read_text().splitlines()
    parts = ("All captions", (1, 2)), ("One object", (1,)), ("Two objects", (2,))
    for title, counts in parts:
        some = [r for r in rows if objects_of(r) in counts]
        if some:
            lines += ["", f"## {title}", "", table(some, kinds)[:-1]]
        if len(counts) == 2 and len({r["frames"] for r in some}) > 1:
            for name, (title, value_of) in PLOTS.items():
                drawn = plot(some, kinds, title, value_of, horizon)
                (docs / f"quality-{name}.svg").write_text(drawn)
                lines += ["", f"![{title}](quality-{name}.svg)"]
            lines += ["", *pairs_table([r for r in some if r["frames"] > horizon])]
    some = [r for r in rows if r["frames"] == beyond(horizon)]
    if any(r["method"] in SETTINGS for r in some):
        lines += ["", "## What in the pattern changes it", ""]
        lines += (pathlib.Path(__file__).parent / "settings.md").read_text().splitlines()
        lines += ["", table(some, [*BESIDE, *SETTINGS])[:-1]]
    if times:
        lines += ["", "## Time", ""]
        lines += (pathlib.Path(__file__).parent / "times.md").read_text().splitlines()
        for device, cells in times.items():
            lines += ["", *times_table(device, cells)]
    (docs / "QUALITY.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--docs", required=True, type=pathlib.Path)
    parser.add_argument("--lvsa", default="lvsa")
    parser.add_argument("--device", nargs="+", default=["auto"])
    parser.add_argument("--frames", type=int, nargs="+", default=[81, 161, 321, 481])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--captions", type=int, default=64)
    parser.add_argument("--workers", type=int, default=8, help="videos made at a time")
    parser.add_argument("--scratch", help="where videos lie while they are judged")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no video after so long")
    parser.add_argument("--times", action="store_true", help="also measure what a step takes")
    parser.add_argument("--write", action="store_true", help="only write the page")
    args = parser.parse_args()
    horizon = json.loads((args.model / "lvsa.json").read_text())["frames"]
    args.out.mkdir(parents=True, exist_ok=True)
    work = Work(args)
    if not args.write:
        work.run(horizon)
        if args.times:
            work.measure(horizon)
    if work.rows:
        page(work.rows, work.times(), horizon, args.docs)


if __name__ == "__main__":
    main()
