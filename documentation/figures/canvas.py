"""A drawing surface that becomes an SVG document: boxes, arrows, lines and texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

INK, SOFT, LINE = "#1f2933", "#52606d", "#7b8794"
BLUE, ORANGE, GREEN, GREY, RED = "#2a6f97", "#b3541e", "#3d7a3a", "#9aa5b1", "#b42318"
PALE = {BLUE: "#dbe9f4", ORANGE: "#f8e3d3", GREEN: "#e0eedd", GREY: "#eef1f4", RED: "#f9dedb"}
DASHES = ' stroke-dasharray="5 4"'
ARROW_HEAD = (
    '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="context-stroke"/></marker></defs>'
)
Place = tuple[float, float]


@dataclass
class Canvas:
    """Shapes on a white sheet, in the order in which they were drawn."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def text(
        self,
        at: Place,
        text: str,
        *,
        size: int = 13,
        fill: str = INK,
        anchor: str = "middle",
        bold: bool = False,
    ) -> None:
        """Write a line of text on a base line."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{at[0]:g}" y="{at[1]:g}" font-size="{size}" fill="{fill}" '
            f'text-anchor="{anchor}"{weight}>{escape(text)}</text>'
        )

    def box(
        self,
        at: Place,
        size: Place,
        lines: Sequence[str],
        *,
        colour: str = BLUE,
        dashed: bool = False,
    ) -> None:
        """Draw a box with lines of text in its middle, the first in bold."""
        (x, y), (width, height) = at, size
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" '
            f'fill="{PALE[colour]}" stroke="{colour}"{DASHES if dashed else ""}/>'
        )
        top = y + height / 2 - 8 * (len(lines) - 1) + 4.5
        for n, line in enumerate(lines):
            place = (x + width / 2, top + 16 * n)
            self.text(place, line, size=11 if n else 13, bold=not n)

    def arrow(
        self,
        start: Place,
        end: Place,
        *,
        colour: str = LINE,
        dashed: bool = False,
        width: float = 1.5,
    ) -> None:
        """Draw an arrow from one place to another."""
        path = f"M{start[0]:g} {start[1]:g}L{end[0]:g} {end[1]:g}"
        self._path(path, colour, width, dashed, ' marker-end="url(#end)"')

    def line(
        self,
        places: Sequence[Place],
        *,
        colour: str = LINE,
        width: float = 1.5,
        dashed: bool = False,
    ) -> None:
        """Draw a line through places."""
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        self._path(path, colour, width, dashed)

    def dot(self, at: Place, *, colour: str = INK, radius: float = 4) -> None:
        """Draw a point."""
        x, y = at
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>')

    def area(self, path: str, fill: str) -> None:
        """Fill a path."""
        self.parts.append(f'<path d="{path}" fill="{fill}"/>')

    def svg(self) -> str:
        """Return the document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif" role="img">'
            f"<title>{escape(self.title)}</title>{ARROW_HEAD}"
            '<rect width="100%" height="100%" rx="6" fill="white"/>'
        )
        return "\n".join([head, *self.parts, "</svg>\n"])

    def _path(self, path: str, colour: str, width: float, dashed: bool, end: str = "") -> None:
        self.parts.append(
            f'<path d="{path}" stroke="{colour}" stroke-width="{width:g}" fill="none"'
            f"{DASHES if dashed else ''}{end}/>"
        )
