"""Draws docs/long.svg from docs/long.tsv: what a latent frame costs, however long the video is.

usage: python bench/plot_long.py docs/long.tsv > docs/long.svg
The table: latent frames, then a column a program: seconds of one pass, - where it wasn't run.
"""
import math
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 64, 150, 56, 48
COLORS = ["#0b6e99", "#b3541e", "#6b6b6b"]

rows = [line.rstrip("\n").split("\t") for line in open(sys.argv[1]) if line.strip() and line[0] != "#"]
names, rows = rows[0][1:], rows[1:]
series = [[(int(r[0]), 1e3 * float(r[i + 1]) / int(r[0])) for r in rows if r[i + 1] != "-"]
          for i in range(len(names))]
lengths = [int(r[0]) for r in rows]
highest = max(y for points in series for _, y in points)
top = next(step * 10**e for e in range(9) for step in (1, 1.2, 1.6, 2, 3, 4, 6, 8) if step * 10**e >= highest)


def x_of(length):
    part = math.log(length / lengths[0]) / math.log(lengths[-1] / lengths[0])
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def y_of(ms):
    return HEIGHT - BOTTOM - ms / top * (HEIGHT - TOP - BOTTOM)


def text(x, y, words, anchor="middle", color="#333", size=13):
    print(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}">{words}</text>')


print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
      'font-family="system-ui, sans-serif">')
print(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>')
text(LEFT, 24, "One pass of Wan 2.1 1.3B, 480x832, bf16, one H100: milliseconds a latent frame", "start", "#111", 15)
for i in range(5):
    ms = top * i / 4
    print(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(ms):.1f}" y2="{y_of(ms):.1f}" stroke="#e4e4e4"/>')
    text(LEFT - 8, y_of(ms) + 4, f"{ms:g}", "end")
last = -math.inf
for length in lengths:
    if x_of(length) - last < 34:
        continue
    last = x_of(length)
    text(last, HEIGHT - BOTTOM + 20, length)
text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "latent frames (four frames each)")
for name, points, color in zip(names, series, COLORS):
    path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
    print(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    for x, y in points:
        print(f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3.5" fill="{color}"/>')
    text(x_of(points[-1][0]) + 8, y_of(points[-1][1]) + 4, name, "start", color)
print("</svg>")
