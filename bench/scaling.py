"""A transformer's passes on 1 to N GPUs of one host: measured, beside what a model of bytes and balance predicts.

usage: python bench/scaling.py LVSA MODEL... [--frames 321 961] [--ranks 1 2 4 8] [--predict 64]
                               [--repeat 2] [--gbps 300] [--us 14] [--device cuda] [--size 480x832] [--svg FILE]
                               [--budget SECONDS]
LVSA is the program, MODEL directories that `lvsa synth` has made; `--parts transformer --layers 6` is enough,
since layers are alike. Starts ranks itself, as torchrun would, each way of sharing in turn; prints a table in Markdown
and, with --svg, draws speed-ups. Numbers after --predict are predicted alone. What isn't done after --budget seconds
is left out.

The prediction is that of docs/SPEED.md, from one GPU's pass of T seconds, of which A in self-attention and text's; L
layers; rank r has f of F frames, and in a layer sends or gets B bytes in n messages at --gbps and --us each, hidden
behind the making of its queries, of h seconds a frame:
    halo      max over r of  T f / F + L max(0, n us + B / gbps - h f)
    Ulysses   max over r of  (T - A) f / F + A / N + L B / gbps
    CFG       of two passes: one pass; of N > 2 ranks: that of N / 2 ranks by halo
f and B are `lvsa plan --ranks N`'s, and n is at most two, keys and values, for each frame that is sent or got. Waiting
is the first rank's, for messages and for ranks that have more to do.
"""
import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time

WAYS = {"halo": ["--sequence-parallel", "halo"], "Ulysses": ["--sequence-parallel", "ulysses"],
        "CFG": ["--guidance", "--cfg-parallel", "--sequence-parallel", "halo"]}


def parse():
    p = argparse.ArgumentParser(usage=__doc__, add_help=False)
    p.add_argument("lvsa")
    p.add_argument("models", nargs="+")
    p.add_argument("--frames", type=int, nargs="+", default=[321, 961])
    p.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8])
    p.add_argument("--predict", type=int, nargs="*", default=[])
    p.add_argument("--repeat", type=int, default=2)
    p.add_argument("--gbps", type=float, default=300.0)
    p.add_argument("--us", type=float, default=14.0)
    p.add_argument("--device", default="cuda")
    p.add_argument("--size", default="480x832")
    p.add_argument("--svg")
    p.add_argument("--budget", type=float, default=600.0)
    return p.parse_args()


class Bench:
    def __init__(self, options):
        self.o = options
        self.port = 20000 + os.getpid() % 10000
        self.end = time.monotonic() + options.budget

    def run(self, model, frames, ranks, extra):
        """JSON of rank 0, or None where it failed or there was no time."""
        if time.monotonic() > self.end:
            return None
        height, width = self.o.size.split("x")
        command = [self.o.lvsa, "bench", "dit", model, "--device", self.o.device, "--json", "--num-frames", str(frames),
                   "--height", height, "--width", width, "--repeat", str(self.o.repeat), *extra]
        self.port += 3
        processes = []
        for rank in range(ranks):
            e = dict(os.environ, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1",
                     MASTER_PORT=str(self.port))
            e.setdefault("OMP_NUM_THREADS", "8")
            processes.append(subprocess.Popen(command, env=e, text=True,
                                              stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL))
        try:
            out, _ = processes[0].communicate(timeout=max(1.0, self.end - time.monotonic()))
            codes = [p.wait(timeout=10) for p in processes]
        except subprocess.TimeoutExpired:
            for p in processes:
                p.send_signal(signal.SIGKILL)
            return None
        return json.loads(out) if not any(codes) else None

    def plan(self, family, frames, ranks):
        height, width = self.o.size.split("x")
        out = subprocess.run([self.o.lvsa, "plan", "--family", family, "--num-frames", str(frames), "--height", height,
                              "--width", width, "--ranks", str(ranks), "--json"], text=True, capture_output=True)
        return json.loads(out.stdout)["ranks"] if out.returncode == 0 else None

    def predict(self, way, model, one, frames, ranks):
        """Seconds of a pass on so many ranks, or None where frames or heads can't be dealt to them."""
        of = self.plan(one["family"], frames, ranks)
        if of is None:
            return None
        with open(os.path.join(model, "transformer", "config.json")) as file:
            config = json.load(file)
        layers, width = config["num_layers"], config["num_attention_heads"] * config["attention_head_dim"]
        rate, took = self.o.gbps * 1e9, one["operations"]
        share = lambda r: r["frames"] / one["latent_frames"]
        if way == "Ulysses":
            if config["num_attention_heads"] % ranks:
                return None
            attention = took["attention"]["ms"] / 1e3
            return max((one["median_s"] - attention) * share(r) + attention / ranks +
                       layers * max(r["ulysses_received"], r["ulysses_sent"]) / rate for r in of)
        tensor = 2 * one["patches_per_frame"] * width  # bytes of a frame's queries in bf16
        product, norm = took["linear"], took["norm"]  # a product with [E, E]; a norm reads and writes
        query = tensor * width * product["ms"] / 1e3 / product["flops"] + 2 * tensor * norm["ms"] / 1e3 / norm["bytes"]
        messages = lambda r: max(r["halo_received"], r["halo_sent"])
        return max(one["median_s"] * share(r) +
                   layers * max(0.0, messages(r) * (self.o.us * 1e-6 / tensor + 1 / rate) - query * r["frames"])
                   for r in of)


def draw(path, points):
    """points: {label: [(ranks, measured speed-up or None, predicted)]}; drawn as shares of the ranks, 50 to 105 %.
    Up to eight: beyond lie single predictions."""
    points = {label: [p for p in of if p[0] <= 8] for label, of in points.items()}
    height, left, right, top, bottom = 420, 60, 460, 20, 360
    most = max([n for p in points.values() for n, _, _ in p] + [2])
    x = lambda n: left + (right - left) * math.log2(n) / math.log2(most)
    y = lambda share: bottom - (bottom - top) * (min(max(share, 0.5), 1.05) - 0.5) / 0.55
    at = lambda n, speed: (x(n), y(speed / n))
    colours = ["#0b6", "#06c", "#c60", "#a0a", "#666", "#c03"]
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + 240}" height="{height}" '
           'font-family="sans-serif" font-size="12">', f'<rect width="{right + 240}" height="{height}" fill="white"/>']
    for percent in range(50, 101, 10):
        svg.append(f'<path d="M{left},{y(percent / 100):.1f}H{right}" stroke="#ddd"/>'
                   f'<text x="{left - 8}" y="{y(percent / 100) + 4:.1f}" text-anchor="end">{percent} %</text>')
    ticks = [2 ** i for i in range(int(math.log2(most)) + 1)]
    svg += [f'<text x="{x(n):.1f}" y="{bottom + 18}" text-anchor="middle">{n}</text>' for n in ticks]
    svg.append(f'<text x="{left}" y="{bottom + 40}">GPUs; speed-up over one, as a '
               'share of their number. Lines: predicted, points: measured</text>')
    for i, (label, p) in enumerate(points.items()):
        c = colours[i % len(colours)]
        svg.append('<polyline fill="none" stroke="%s" points="%s"/>' %
                   (c, " ".join("%.1f,%.1f" % at(n, s) for n, s in [(1, 1.0)] + [(n, s) for n, _, s in p])))
        svg += ['<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>' % (*at(n, s), c) for n, s, _ in p if s]
        svg.append(f'<text x="{right + 20}" y="{top + 20 + 18 * i}" fill="{c}">{label}</text>')
    with open(path, "w") as f:
        f.write("\n".join(svg + ["</svg>\n"]))


def main():
    o = parse()
    bench, points = Bench(o), {}
    print("| model, frames | GPUs | shared by | s | speed-up | efficiency | waiting | predicted s | speed-up |\n"
          "|---|---|---|---|---|---|---|---|---|", flush=True)
    for model in o.models:
        for frames in o.frames:
            one = bench.run(model, frames, 1, [])
            if not one:
                print(f"| {model}, {frames} | 1 | | failed, or out of time ||||||", flush=True)
                continue
            name = f"{one['family']}, {frames}"
            print(f"| {name} | 1 | | {one['median_s']:.4f} | 1 | | | | |", flush=True)
            for way, extra in WAYS.items():
                for n in sorted(set(o.ranks + o.predict) - {1}):
                    half = max(n // 2, 1) if way == "CFG" else n
                    guess = (bench.predict("halo" if way == "CFG" else way, model, one, frames, half) if half > 1
                             else one["median_s"])
                    if guess is None:
                        continue  # heads that can't be dealt
                    base = one["median_s"] * (2 if way == "CFG" else 1)
                    expected = f"{guess:.4f} | {base / guess:.2f}"
                    if n not in o.ranks:
                        print(f"| {name} | {n} | {way} | | | | | {expected} |", flush=True)
                        points.setdefault(f"{name}, {way}", []).append((n, None, base / guess))
                        continue
                    r = bench.run(model, frames, n, extra)
                    if not r:
                        print(f"| {name} | {n} | {way} | failed, or out of time ||||||", flush=True)
                        continue
                    speed = base / r["median_s"]
                    waited = r["operations"].get("exchange", {"ms": 0.0})["ms"] / 1e3 / r["timed_s"]
                    print(f"| {name} | {n} | {way} | {r['median_s']:.4f} | {speed:.3f} | {100 * speed / n:.1f} % | "
                          f"{100 * waited:.1f} % | {expected} |", flush=True)
                    points.setdefault(f"{name}, {way}", []).append((n, speed, base / guess))
    if o.svg and points:
        draw(o.svg, points)


if __name__ == "__main__":
    sys.exit(main())
