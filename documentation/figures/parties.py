"""The figure of composition: three parties alone, averaged, and joint, computed in a plane."""

from documentation.figures import toy
from documentation.figures.canvas import INK, SOFT, Canvas

FILLS = dict(
    zip(toy.LABELS, ("#cfe3f2", "#a9cde8", "#fbe0cc", "#f3c29c", "#d5ead0", "#aed6a5"), strict=True)
)
DOTS = dict(
    zip(toy.LABELS, ("#2a6f97", "#164a68", "#c8692c", "#8f4312", "#4f8f49", "#2b5f27"), strict=True)
)
CELLS, SIDE, GAP, TOP, LEFT = 30, 150, 18, 44, 16
Model = dict[str, list[float]]


def svg() -> str:
    """Return the figure."""
    held = [toy.sums("".join(party)) for party in toy.PARTIES]
    alone = [toy.solved(each) for each in held]
    joint = toy.solved(held[0] + held[1] + held[2])
    panels: list[tuple[str, Model, tuple[str, ...]]] = [
        (f"party {n + 1} alone", model, party)
        for n, (model, party) in enumerate(zip(alone, toy.PARTIES, strict=True))
    ]
    panels += [
        ("average of the three", toy.average(alone), tuple(toy.LABELS)),
        ("joint", joint, tuple(toy.LABELS)),
    ]
    width = 2 * LEFT + len(panels) * SIDE + (len(panels) - 1) * GAP
    canvas = Canvas(
        width, TOP + SIDE + 34, "Three components alone, averaged, and composed by the rule joint"
    )
    for n, (title, model, shown) in enumerate(panels):
        _panel(canvas, LEFT + n * (SIDE + GAP), title, model, shown)
    return canvas.svg()


def _panel(canvas: Canvas, left: float, title: str, model: Model, shown: tuple[str, ...]) -> None:
    canvas.text((left + SIDE / 2, TOP - 14), title, bold=True)
    for label, path in _areas(model, left).items():
        canvas.area(path, FILLS[label])
    for label in toy.LABELS:
        for x, y in toy.points(label):
            colour = DOTS[label] if label in shown else "#c9ced6"
            canvas.dot(
                (left + SIDE * (x + 1) / 2, TOP + SIDE * (1 - y) / 2), colour=colour, radius=2
            )
    right = f"{100 * toy.accuracy(model):.0f} % of all points right"
    canvas.text(
        (left + SIDE / 2, TOP + SIDE + 20), right, size=12, fill=INK if len(shown) > 2 else SOFT
    )


def _areas(model: Model, left: float) -> dict[str, str]:
    """Return the area of each label, as runs of cells of a grid."""
    cell = SIDE / CELLS
    paths = dict.fromkeys(model, "")
    for row in range(CELLS):
        y = 1 - 2 * (row + 0.5) / CELLS
        names = [toy.answer(model, (2 * (n + 0.5) / CELLS - 1, y)) for n in range(CELLS)]
        start = 0
        for n in range(1, CELLS + 1):
            if n == CELLS or names[n] != names[start]:
                x, length = left + start * cell, (n - start) * cell
                paths[names[start]] += (
                    f"M{x:g} {TOP + row * cell:g}h{length:g}v{cell:g}h-{length:g}z"
                )
                start = n
    return {label: path for label, path in paths.items() if path}
