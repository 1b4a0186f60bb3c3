#!/usr/bin/env python3
"""Writes src/flow/text/html_entities_table.c from Python's html.entities, which is HTML 5's table.

usage: scripts/make-html-entities.py > src/flow/text/html_entities_table.c
"""
from html.entities import html5


def main():
    names = sorted(html5, key=lambda name: name.encode())
    print("/* html_entities_table.c: the named character references of HTML 5, with and without their \";\", in\n"
          " * the order of their bytes. Made by scripts/make-html-entities.py. */")
    print('#include "flow/text/html_entities.h"\n')
    print("const lv_html_entity lv_html_entities[LV_HTML_ENTITIES] = {")
    for name in names:
        codes = [f"0x{ord(c):x}" for c in html5[name]] + ["0"]
        print(f'    {{"{name}", {{{codes[0]}, {codes[1]}}}}},')
    print("};")


if __name__ == "__main__":
    main()
