"""Mermaid flowcharts of rooms and arrows as SVG, so that the site needs no script for them.

Rooms stand in storeys, each below all whose arrows lead to it; within a storey they are ordered by
where their neighbours stand. Only what `benchmarks/structure/picture.py` writes is read.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from html import escape

NODE = re.compile(r'^ +(\w+)\["([^"]+)"\]$')
ARROWS = re.compile(r"^ +(\w+) --> (.+)$")
FRAME = re.compile(r"^ +subgraph (\w+)$")
FILLS = ("#dbe9f4", "#e3efdd", "#f6e6cf", "#ecdff0")
INK, ARROW = "#1f2933", "#7b8794"
HEIGHT, LETTER, PADDING, GAP, STOREY, MARGIN = 30, 7.4, 22, 18, 74, 20
ROUNDS = 12  # of ordering


@dataclass
class Graph:
    """Rooms with their names and frames, and the arrows between them."""

    names: dict[str, str] = field(default_factory=dict)
    frames: dict[str, str] = field(default_factory=dict)
    arrows: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def parsed(cls, text: str) -> "Graph":
        """Read a flowchart.

        Raises:
            ValueError: a line is none of those that are known.
        """
        graph, frame = cls(), ""
        for line in text.splitlines():
            if found := FRAME.match(line):
                frame = found[1]
            elif line.strip() == "end":
                frame = ""
            elif found := NODE.match(line):
                graph.names[found[1]], graph.frames[found[1]] = found[2], frame
            elif found := ARROWS.match(line):
                graph.arrows += [(found[1], end) for end in found[2].split(" & ")]
            elif line.strip() and not line.startswith("flowchart"):
                raise ValueError(f"this line of a graph is not known: {line!r}")
        return graph

    def storeys(self) -> list[list[str]]:
        """Return the rooms by storeys, the highest first, each ordered so that few arrows cross."""
        above = defaultdict(list)
        for start, end in self.arrows:
            above[end].append(start)
        depths: dict[str, int] = {}

        def depth(room: str) -> int:
            if room not in depths:
                depths[room] = 1 + max(map(depth, above[room]), default=-1)
            return depths[room]

        rows: dict[int, list[str]] = defaultdict(list)
        for room in self.names:
            rows[depth(room)].append(room)
        return self._ordered([rows[n] for n in sorted(rows)])

    def _ordered(self, rows: list[list[str]]) -> list[list[str]]:
        near = defaultdict(list)
        for start, end in self.arrows:
            near[start].append(end)
            near[end].append(start)
        for _ in range(ROUNDS):
            place = {room: (n + 0.5) / len(row) for row in rows for n, room in enumerate(row)}
            middle = {
                room: sum(place[other] for other in near[room]) / len(near[room])
                if near[room]
                else place[room]
                for room in place
            }
            for row in rows:
                row.sort(key=lambda room: (middle[room], room))
        return rows


def svg(text: str) -> str:
    """Return a flowchart as an SVG document."""
    graph = Graph.parsed(text)
    rows = graph.storeys()
    widths = {room: PADDING + LETTER * len(name) for room, name in graph.names.items()}
    spans = [sum(widths[room] for room in row) + GAP * (len(row) - 1) for row in rows]
    width = max(spans) + 2 * MARGIN
    at: dict[str, tuple[float, float]] = {}
    for n, (row, span) in enumerate(zip(rows, spans, strict=True)):
        x = (width - span) / 2
        for room in row:
            at[room] = (x + widths[room] / 2, MARGIN + n * STOREY)
            x += widths[room] + GAP
    frames = sorted({frame for frame in graph.frames.values() if frame})
    height = 2 * MARGIN + (len(rows) - 1) * STOREY + HEIGHT + (28 if frames else 0)
    parts = [_head(width, height)]
    parts += [_arrow(at[start], at[end]) for start, end in graph.arrows]
    for room, name in graph.names.items():
        fill = FILLS[frames.index(graph.frames[room])] if graph.frames[room] else FILLS[-1]
        parts.append(_box(at[room], widths[room], name, fill))
    parts += [_legend(n, frame, height) for n, frame in enumerate(frames)]
    return "\n".join([*parts, "</svg>\n"])


def _head(width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="13">'
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{ARROW}"/></marker></defs>'
        '<rect width="100%" height="100%" rx="6" fill="white"/>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to, down) = start, end
    y, down = y + HEIGHT, down - 2
    bend = (down - y) / 2
    return (
        f'<path d="M{x:.1f} {y:.1f}C{x:.1f} {y + bend:.1f} {to:.1f} {down - bend:.1f} {to:.1f} '
        f'{down:.1f}" fill="none" stroke="{ARROW}" marker-end="url(#end)"/>'
    )


def _box(at: tuple[float, float], width: float, name: str, fill: str) -> str:
    x, y = at
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{HEIGHT}" rx="5" '
        f'fill="{fill}" stroke="{ARROW}"/><text x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle" '
        f'fill="{INK}">{escape(name)}</text>'
    )


def _legend(n: int, frame: str, height: float) -> str:
    x, y = MARGIN + 190 * n, height - 26
    return (
        f'<rect x="{x}" y="{y:.0f}" width="14" height="14" rx="3" fill="{FILLS[n]}" '
        f'stroke="{ARROW}"/><text x="{x + 20}" y="{y + 12:.0f}" fill="{INK}">{escape(frame)}</text>'
    )
