#!/usr/bin/env python3
"""Writes down what Python makes of hostile character references and white space.

usage: make_clean_golden.py [FILE] [--lines N] [--seed S]

FILE (clean.bin here by default) holds a varint count and for each line three texts: the line,
html.unescape() of it, and WanPipeline's prompt_clean() without ftfy; a text is varint bytes, bytes. Varints are
those of protocol buffers.
"""
import argparse
import html
import pathlib
import random
import re
from html.entities import html5

NAMES = sorted(html5)
SPACES = [chr(c) for c in range(0x110000) if chr(c).isspace()] + ["\u200b", "\u180e", "\ufeff", "\u2060", "\x00", "\x1b"]
PIECES = ["&", "&&", "&;", "&#", "&#;", "&#x", "&#x;", "&#X", "&amp;", "&amp", "&ampamp;", "&amp;lt;", "&amp;amp;lt;", "&notit;", "&notin;",
          "&notinx", "&lt", "&LT;", "&Lt;", "&ltcc;", "&AMP&AMP;", "&fjlig;", "&nGt;", "&ngE", "&CounterClockwiseContourIntegral;",
          "&CounterClockwiseContourIntegralx;", "&a", "&ab", "&\x00amp;", "&amp\x00", "&g\x00t;", "&é;", "&ampé", "&gt☃;", "&<", "& lt;", "&\tlt;",
          "&lt\n;", "&#60", "&#060;", "&#x3C;", "&#x3c", "&#60a", "&#x3cg", "&#60;;", "&#-1;", "&#+1;", "&#1_0;", "&#٣;", "&#x١;", "&#xD800;",
          "&#xdfff;", "&#x110000;", "&#1114112;", "&#99999999999999999999;", "&#x" + "f" * 40 + ";", "&#0;", "&#00", "&#x0;", "&#128;",
          "&#x9f", "&#129;", "&#11;", "&#12;", "&#13;", "&#xfdd0;", "&#xfdef;", "&#xfffe;", "&#x1ffff;", "&#x10fffe;", "&#xfffd;", "&#x7f;",
          "&#9;", "&#10;", "&#32;", "&nbsp;", "&emsp;", "&NewLine;", "&Tab;", "&ZeroWidthSpace;", "&" + "x" * 31 + ";", "&" + "x" * 32 + ";",
          "&" + "x" * 33 + ";", "&" + "é" * 31 + "amp;", "&amp" + "é" * 40, "&" + "y" * 40, "&lt" * 9, "a", "B", "☃", "#", ";", "x3c;", "40;"]



def prompt_clean(text):
    text = html.unescape(html.unescape(text)).strip()
    return re.sub(r"\s+", " ", text).strip()


def make_line(rng):
    text = ""
    for _ in range(rng.randint(1, 7)):
        kind = rng.randrange(6)
        if kind == 0:
            name = rng.choice(NAMES)
            text += "&" + name[:rng.randint(1, len(name))] + rng.choice(["", ";", "x", " "])
        elif kind == 1:
            number = rng.choice([rng.randint(0, 0x120), rng.randint(0, 0x120000), rng.choice([0xfdd0, 0xfffe, 0xd7ff, 0xe000]) + rng.randint(-1, 33)])
            text += rng.choice(["&#%d", "&#x%x", "&#X%X", "&#0%d"]) % number + rng.choice(["", ";", "z"])
        elif kind == 2:
            text += "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 4)))
        else:
            text += rng.choice(PIECES)
    return text


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("file", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).parent / "clean.bin")
    options.add_argument("--lines", type=int, default=1500)
    options.add_argument("--seed", type=int, default=3)
    options = options.parse_args()
    rng = random.Random(options.seed)
    lines = [""] + PIECES + SPACES + [f"a{s}{s}b" for s in SPACES] + [f"&{name}" for name in NAMES if name.endswith(";")]
    lines += [make_line(rng) for _ in range(options.lines)]
    out = varint(len(lines))
    for line in lines:
        for text in (line, html.unescape(line), prompt_clean(line)):
            out += varint(len(text.encode())) + text.encode()
    options.file.write_bytes(out)
    print(f"{len(lines)} lines, {len(out)} bytes")


if __name__ == "__main__":
    main()
