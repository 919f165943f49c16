"""Draws the figures of `benchmarks.serving --json` as bars: `python -m benchmarks.chart --help`."""

import argparse
import json
from html import escape
from pathlib import Path

WIDTH, LABEL, ROW, GAP = 760, 300, 18, 34
INK, BAR, OURS, LINE = "#222222", "#9db4c0", "#2a6f97", "#c44536"
SHOWN = ("all", "last-3-blocks", "last-block")


def svg(results: list[dict]) -> str:
    """One group of bars for each model and batch, in plain passes; a line marks one of them."""
    most = max(value for each in results for value in each["ratios"].values())
    scale = (WIDTH - LABEL - 60) / most
    rows: list[str] = []
    y = 24
    for each in results:
        rows.append(_text(8, y, f"{each['model']}, batch {each['batch']}", bold=True))
        top = y + 6
        for way, ratio in sorted(each["ratios"].items(), key=lambda item: item[1]):
            y += ROW
            colour = OURS if way in SHOWN or "compositions" in way else BAR
            rows.append(_text(LABEL - 8, y, way, anchor="end"))
            rows.append(
                f'<rect x="{LABEL}" y="{y - 11}" width="{ratio * scale:.1f}" height="13" '
                f'fill="{colour}"/>'
            )
            rows.append(_text(LABEL + ratio * scale + 6, y, f"{ratio:.2f}"))
        x = LABEL + scale
        rows.append(f'<path d="M{x:.1f} {top}V{y + 4}" stroke="{LINE}" stroke-dasharray="3 3"/>')
        y += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        + "".join(rows)
        + "</svg>\n"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{INK}"{weight}>'
        f"{escape(text)}</text>"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path, help="what --json of benchmarks.serving wrote")
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    args.picture.write_text(svg(json.loads(args.figures.read_text())["results"]))


if __name__ == "__main__":
    main()
