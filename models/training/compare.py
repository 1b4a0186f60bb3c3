"""What options of `lvsa generate` change of the tiny model's videos: the same captions and seeds
without and with them, judged by check_video.py, and the PSNR between the two.

    python compare.py --lvsa ../../build/lvsa --model ../tiny-wan -- --attention-dtype fp8
        [--captions 16] [--frames 81] [--device cuda] [--workers 8]

What stands after -- goes to the second of two runs. Python and numpy only.
"""

import argparse
import concurrent.futures
import multiprocessing
import pathlib
import subprocess
import tempfile

import numpy as np

import check_video
import quality

ATTRIBUTES = ("colour", "shape", "motion")


def make(args, directory, number, caption, options):
    path = str(pathlib.Path(directory) / "video.y4m")
    subprocess.run(
        [args.lvsa, "generate", "-q", "-f", "-m", args.model, "-p", caption, "--device", args.device]
        + ["-S", str(quality.SEED + number), "--num-frames", str(args.frames)]
        + [*options, "-o", path],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return check_video.read_video(path)


def compare(job):
    """Two reports and the PSNR of one caption's videos."""
    args, number, caption = job
    with tempfile.TemporaryDirectory(dir=args.scratch) as directory:
        videos = [make(args, directory, number, caption, o) for o in ([], args.options)]
    noise = np.square(videos[0].astype(np.float64) - videos[1]).mean()
    return [check_video.check(v, caption) for v in videos], noise


def psnr(noise):
    return 10 * np.log10(255**2 / noise) if noise else np.inf


def score(reports, attribute):
    """Of all quarters of all videos, those that are right."""
    return np.mean([q[attribute] for r in reports for q in r["quarters"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lvsa", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--captions", type=int, default=16)
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--scratch", help="folder for videos")
    parser.add_argument("options", nargs="+", help="of `lvsa generate`, after --")
    args = parser.parse_args()
    said = quality.draw_captions(args.captions)
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(args.workers, context) as pool:
        found = list(pool.map(compare, [(args, i, c) for i, c in enumerate(said)]))
    for caption, (reports, noise) in zip(said, found):
        right = [
            " ".join(f"{a} {sum(q[a] for q in r['quarters'])}/4" for a in ATTRIBUTES) for r in reports
        ]
        print(f"{psnr(noise):5.1f} dB; {right[0]}; {right[1]}: {caption}")
    noises = [noise for _, noise in found]
    print(
        f"{len(found)} videos of {args.frames} frames: PSNR of all {psnr(np.mean(noises)):.1f} dB, "
        f"median {psnr(np.median(noises)):.1f}, worst {psnr(max(noises)):.1f}"
    )
    for which, name in enumerate(("without", "with")):
        reports = [r[which] for r, _ in found]
        print(f"{name}: " + ", ".join(f"{a} {score(reports, a):.3f}" for a in ATTRIBUTES))


if __name__ == "__main__":
    main()
