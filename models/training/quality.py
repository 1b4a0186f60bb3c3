"""docs/QUALITY.md and its plots from the rows of evaluate.py.

python quality.py --results out/quality/results.json --docs ../../docs
"""

import argparse
import json
import pathlib

NAMES = {
    "dense": "dense",
    "riflex": "dense, RIFLEx",
    "lvsa-fixed": "LVSA, keyframes fixed",
    "lvsa-rotating": "LVSA, keyframes rotating",
    "lvsa-riflex": "LVSA rotating, RIFLEx",
}
COLOURS = ("#4d4d4d", "#999999", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
HEAD = """# Quality beyond the training length

What `make quality` saw: models/tiny-wan, trained on {horizon} frames, makes videos of captions that
it was never trained on, at {horizon} frames and beyond, and a program looks whether colour, shape
and motion are those of the caption (models/training/check_video.py says how). A score is the share
of videos that are right in a quarter of their length; "1st" and "last" are its first and last
quarter. Freeze is the share of frames in which nothing moves; loop is 1 where a later part repeats
an earlier one. Time is that of denoising a video, by PyTorch{device}.

"""


def table(rows):
    lines = [
        "| frames | attention | videos | colour 1st, last | shape 1st, last | motion 1st, last "
        "| freeze | loop | s a video |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in sorted(rows, key=lambda r: r["frames"]):
        ends = " | ".join(f"{r[a][0]:.2f}, {r[a][3]:.2f}" for a in ("colour", "shape", "motion"))
        name = NAMES.get(r["method"], r["method"])
        lines.append(
            f"| {r['frames']} | {name} | {r['videos']} | {ends} "
            f"| {r['freeze']:.2f} | {r['loop']:.2f} | "
            f"{r['seconds'] / r['videos']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def plot(rows, attribute):
    """An SVG: the last quarter's score over the number of frames, a line a method."""
    frames = sorted({r["frames"] for r in rows})
    x = {f: 60 + 360 * i / max(1, len(frames) - 1) for i, f in enumerate(frames)}
    y = lambda score: 240 - 200 * score
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 290" '
        'font-family="sans-serif" font-size="12">',
        f'<text x="60" y="20">{attribute} right in the last quarter</text>',
    ]
    for score in (0, 0.25, 0.5, 0.75, 1):
        parts.append(
            f'<path d="M60 {y(score)}H420" stroke="#ddd"/>'
            f'<text x="25" y="{y(score) + 4}">{score:g}</text>'
        )
    parts += [f'<text x="{x[f]}" y="260" text-anchor="middle">{f}</text>' for f in frames]
    parts.append('<text x="240" y="280" text-anchor="middle">frames</text>')
    start = {r["frames"]: r[attribute][3] for r in rows if r["method"] == "dense"}
    for i, method in enumerate(dict.fromkeys(r["method"] for r in rows)):
        score = {r["frames"]: r[attribute][3] for r in rows if r["method"] == method}
        score = {frames[0]: start.get(frames[0]), **score}  # below the horizon all are dense
        points = [f"{x[f]:.0f} {y(score[f]):.1f}" for f in frames if score.get(f) is not None]
        colour = COLOURS[i % len(COLOURS)]
        parts.append(
            f'<path d="M{"L".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(
            f'<path d="M440 {40 + 20 * i}h20" stroke="{colour}" stroke-width="2"/>'
            f'<text x="468" y="{44 + 20 * i}">{NAMES.get(method, method)}</text>'
        )
    return "\n".join(parts + ["</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", required=True, type=pathlib.Path)
    parser.add_argument("--docs", required=True, type=pathlib.Path)
    parser.add_argument("--device", default="", help='for the text, such as " on one H100"')
    args = parser.parse_args()
    rows = [
        r for r in json.loads(args.results.read_text()) if not {"guidance", "flow_shift"} & r.keys()
    ]
    text = HEAD.format(horizon=min(r["frames"] for r in rows), device=args.device) + table(rows)
    for attribute in ("colour", "motion"):
        (args.docs / f"quality-{attribute}.svg").write_text(plot(rows, attribute))
        text += f"\n![{attribute} right in the last quarter](quality-{attribute}.svg)\n"
    (args.docs / "QUALITY.md").write_text(text)


if __name__ == "__main__":
    main()
