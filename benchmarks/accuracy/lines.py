"""A chart of lines as SVG: named series over a few shared places on the horizontal axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

INK, GRID = "#222222", "#dddddd"
COLOURS = (
    *("#2a6f97", "#c44536", "#e09f3e", "#5b8c5a", "#7b4b94"),
    *("#666666", "#17a2a2", "#b5838d", "#3d405b", "#a3b18a"),
)
LEFT, TOP, BOTTOM, NAMES = 56, 34, 44, 210
WIDTH, HEIGHT = 420, 250  # of the plotting area


@dataclass(frozen=True)
class Chart:
    """A chart's title, axes and series."""

    title: str
    horizontal: str
    vertical: str
    places: Sequence[int]  # evenly spaced, whatever their values
    series: Mapping[str, Mapping[int, float]]  # name -> place -> value
    logarithmic: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height = max(HEIGHT, 17 * len(self.series))
        return LEFT + WIDTH + NAMES, TOP + height + BOTTOM

    def svg(self) -> str:
        """The chart as a document."""
        width, height = self.size
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>',
            text(LEFT, 20, self.title, bold=True),
            *self._axes(),
            *self._lines(),
            "</svg>\n",
        ]
        return "\n".join(parts)

    def _axes(self) -> list[str]:
        parts = []
        for tick in self._ticks():
            y = self._y(tick)
            parts.append(f'<path d="M{LEFT} {y:.1f}h{WIDTH}" stroke="{GRID}"/>')
            parts.append(text(LEFT - 6, y + 4, f"{tick:g}", anchor="end"))
        for place in self.places:
            parts.append(text(self._x(place), TOP + HEIGHT + 18, f"{place:g}", anchor="middle"))
        middle = LEFT + WIDTH / 2
        parts.append(text(middle, TOP + HEIGHT + 36, self.horizontal, anchor="middle"))
        parts.append(
            f'<g transform="rotate(-90 14 {TOP + HEIGHT / 2})">'
            + text(14, TOP + HEIGHT / 2, self.vertical, anchor="middle")
            + "</g>"
        )
        return parts

    def _lines(self) -> list[str]:
        parts = []
        for number, (name, values) in enumerate(self.series.items()):
            colour = COLOURS[number % len(COLOURS)]
            dash = ' stroke-dasharray="5 3"' if number >= len(COLOURS) else ""
            points = [(self._x(p), self._y(values[p])) for p in self.places if p in values]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
            )
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points
            ]
            y = TOP + 8 + 17 * number
            x = LEFT + WIDTH + 14
            parts.append(
                f'<path d="M{x} {y - 4}h18" stroke="{colour}" stroke-width="2"{dash}/>'
                + text(x + 24, y, name)
            )
        return parts

    def _x(self, place: int) -> float:
        step = WIDTH / max(1, len(self.places))
        return LEFT + step * (list(self.places).index(place) + 0.5)

    def _y(self, value: float) -> float:
        low, high = self._range()
        if self.logarithmic:
            low, high, value = log10(low), log10(high), log10(value)
        return TOP + HEIGHT * (1 - (value - low) / (high - low))

    def _range(self) -> tuple[float, float]:
        values = [v for series in self.series.values() for v in series.values()]
        if self.logarithmic:
            return 10.0 ** floor(log10(min(values))), 10.0 ** max(
                ceil(log10(max(values))), floor(log10(min(values))) + 1
            )
        return 0.0, self._step() * ceil(max(values) / self._step())

    def _step(self) -> float:
        most = max(v for series in self.series.values() for v in series.values())
        power = 10.0 ** floor(log10(most / 5))
        return next(power * k for k in (1, 2, 5, 10) if power * k >= most / 5)

    def _ticks(self) -> list[float]:
        low, high = self._range()
        if self.logarithmic:
            return [10.0**k for k in range(round(log10(low)), round(log10(high)) + 1)]
        return [self._step() * k for k in range(round(high / self._step()) + 1)]


def text(x: float, y: float, what: str, *, anchor: str = "start", bold: bool = False) -> str:
    """One line of text."""
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}"{weight}>'
        f"{escape(what)}</text>"
    )
