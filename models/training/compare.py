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
import tempfile

import numpy as np

import check_video
import quality


def make(args, directory, number, caption, options):
    path = str(pathlib.Path(directory) / "video.y4m")
    quality.generate(args, number, caption, args.frames, args.device, options, path)
    return check_video.read_video(path)


def compare(job):
    """Two reports and the PSNR of one caption's videos."""
    args, number, caption = job
    with tempfile.TemporaryDirectory(dir=args.scratch) as directory:
        videos = [make(args, directory, number, caption, o) for o in ([], args.options)]
    noise = np.square(videos[0].astype(np.float64) - videos[1]).mean()
    return [check_video.check(v, caption) for v in videos], noise


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
            " ".join(f"{a} {sum(q[a] for q in r['quarters'])}/4" for a in quality.JUDGED)
            for r in reports
        ]
        print(f"{check_video.psnr(noise):5.1f} dB; {right[0]}; {right[1]}: {caption}")
    noises = [noise for _, noise in found]
    print(
        f"{len(found)} videos of {args.frames} frames: "
        f"PSNR of all {check_video.psnr(np.mean(noises)):.1f} dB, "
        f"median {check_video.psnr(np.median(noises)):.1f}, "
        f"worst {check_video.psnr(max(noises)):.1f}"
    )
    for which, name in enumerate(("without", "with")):
        reports = [r[which] for r, _ in found]
        print(f"{name}: " + ", ".join(f"{a} {score(reports, a):.3f}" for a in quality.JUDGED))


if __name__ == "__main__":
    main()
