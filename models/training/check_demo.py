"""Makes three long videos with the demo's seed and lets the checker confirm colour and motion.

    python3 check_demo.py LVSA MODEL [FRAMES [STEPS]]

LVSA is the program, MODEL the tiny model's directory. Python and numpy only; exits 77 without
numpy, 1 if the colour or the motion of any video's first or last quarter isn't the caption's."""

import pathlib
import subprocess
import sys
import tempfile

CAPTIONS = (
    "a red circle moving right on a white background",
    "a large blue square bouncing left and right on a black background",
    "a green triangle moving down on a gray background",
)
SEED = "1"  # that of the Makefile


def main():
    lvsa, model, frames, steps = [*sys.argv[1:], *("321", "30")[len(sys.argv) - 3 :]]
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        for i, caption in enumerate(CAPTIONS):
            video = str(pathlib.Path(directory) / f"{i}.y4m")
            subprocess.run(
                [lvsa, "generate", "-q", "-m", model, "-p", caption, "-S", SEED]
                + ["--num-frames", frames, "--steps", steps, "-o", video],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            report = check_video.check(check_video.read_video(video), caption)
            quarters = report["quarters"][0], report["quarters"][-1]
            for name, quarter in zip(("first", "last"), quarters):
                found = [a for a in ("colour", "motion") if not quarter[a]]
                wrong += len(found)
                verdict = "wrong in " + " and ".join(found) if found else "right"
                print(f"{caption}: {name} quarter {verdict}", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    try:
        import check_video
    except ModuleNotFoundError as error:
        print(f"skipped: {error}")
        sys.exit(77)
    main()
