"""Generates three long videos with the default seed and lets the checker confirm colour and motion.

    python3 check_demo.py LVSA MODEL [FRAMES]

LVSA is the program, MODEL the tiny model's directory. Python and numpy only. Exits 1 if the colour
or the motion of any video's first or last quarter isn't the caption's."""

import pathlib
import subprocess
import sys
import tempfile

import check_video

CAPTIONS = (
    "a red circle moving left on a white background",
    "a large blue square bouncing left and right on a black background",
    "a green triangle moving down on a gray background",
)
SEED = "16"


def main():
    lvsa, model = sys.argv[1:3]
    frames = sys.argv[3] if len(sys.argv) > 3 else "321"
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        for i, caption in enumerate(CAPTIONS):
            video = str(pathlib.Path(directory) / f"{i}.y4m")
            subprocess.run(
                [
                    lvsa,
                    "generate",
                    "-q",
                    "-m",
                    model,
                    "-p",
                    caption,
                    "-S",
                    SEED,
                    "--num-frames",
                    frames,
                    "-o",
                    video,
                ],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            report = check_video.check(check_video.read_video(video), caption)
            for name, quarter in zip(
                ("first", "last"), (report["quarters"][0], report["quarters"][-1])
            ):
                found = [a for a in ("colour", "motion") if not quarter[a]]
                wrong += len(found)
                print(
                    f"{caption}: {name} quarter",
                    "wrong in " + " and ".join(found) if found else "right",
                )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
