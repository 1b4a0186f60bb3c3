"""Makes one video on the CPU and on a GPU, and compares: their PSNR must be 35 dB or more.

    python3 check_devices.py LVSA MODEL [STEPS]

LVSA is the program, MODEL the tiny model's directory. Python and numpy only. Exits 77 where there
is no GPU, 1 if the videos differ by more."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

CAPTION = "a large blue square bouncing left and right on a black background"
LEAST = 35.0  # dB between bf16 on a GPU and f32 on the CPU


def video(lvsa, model, device, steps, directory):
    path = pathlib.Path(directory) / f"{device}.y4m"
    subprocess.run(
        [lvsa, "generate", "-q", "-m", model, "-p", CAPTION, "-S", "1", "--device", device]
        + (["--steps", steps] if steps else [])
        + ["-o", path],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return check_video.read_video(str(path)).astype(np.float64)


def main():
    lvsa, model = sys.argv[1:3]
    steps = sys.argv[3] if len(sys.argv) > 3 else None
    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = (video(lvsa, model, d, steps, directory) for d in ("cuda", "cpu"))
    psnr = check_video.psnr(np.square(ours - theirs).mean())
    print(f"{CAPTION}: {len(ours)} frames")
    print(f"PSNR of GPU and CPU {psnr:.1f} dB, {LEAST:.0f} is wanted")
    sys.exit(0 if psnr >= LEAST else 1)


if __name__ == "__main__":
    if not shutil.which("nvidia-smi"):
        print("skipped: no GPU here")
        sys.exit(77)
    try:
        import numpy as np

        import check_video
    except ModuleNotFoundError as error:
        print(f"skipped: {error}")
        sys.exit(77)
    main()
