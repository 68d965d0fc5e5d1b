#!/usr/bin/env python3
"""Text of a terminal, with its colours, to a picture: `owltmp top --once --color | docs/pictures/draw.py > top.svg`."""

import re
import sys
from html import escape

WIDTH, HEIGHT, SIZE, EDGE = 8.4, 19, 14, 14
COLORS = {0: "#16181d", 1: "#e06c75", 2: "#7fb069", 3: "#e5c07b", 6: "#56b6c2"}
PAPER, INK = "#16181d", "#d7dae0"


def pieces(line):
    """The line as pieces of text, each with its column, its colours and whether it is bold or dim."""
    column, state = 0, set()
    for codes, text in re.findall(r"\x1b\[([0-9;]*)m|([^\x1b]+)", line):
        if text:
            yield column, text, state
            column += len(text)
            continue
        for code in codes.split(";"):
            number = int(code or 0)
            state = set() if number == 0 else state | {number}


def colors(state):
    ink = next((COLORS[code - 30] for code in state if 30 <= code < 38 and code - 30 in COLORS), INK)
    paper = next((COLORS[code - 40] for code in state if 40 <= code < 48 and code - 40 in COLORS), None)
    return (paper or PAPER, ink) if 7 in state else (ink, paper)


def main():
    lines = sys.stdin.read().rstrip("\n").split("\n")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    width = max(len(line) for line in plain) * WIDTH + 2 * EDGE
    height = len(lines) * HEIGHT + 2 * EDGE
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-family="monospace" font-size="{SIZE}">',
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>',
    ]
    for row, line in enumerate(lines):
        top = EDGE + row * HEIGHT
        for column, text, state in pieces(line):
            ink, paper = colors(state)
            left = EDGE + column * WIDTH
            if paper and paper != PAPER:
                out.append(
                    f'<rect x="{left:.1f}" y="{top}" width="{len(text) * WIDTH:.1f}" height="{HEIGHT}" fill="{paper}"/>'
                )
            if not text.strip():
                continue
            extra = ' font-weight="bold"' if 1 in state else ' opacity="0.6"' if 2 in state else ""
            out.append(
                f'<text x="{left:.1f}" y="{top + 14}" fill="{ink}" xml:space="preserve" '
                f'textLength="{len(text) * WIDTH:.1f}"{extra}>{escape(text)}</text>'
            )
    out.append("</svg>")
    print("\n".join(out))


main()
