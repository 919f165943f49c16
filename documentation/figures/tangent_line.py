"""The figure of a component: the network's answer, and the tangent at the fixed weights."""

import math

from documentation.figures.canvas import BLUE, INK, LINE, ORANGE, SOFT, Canvas

WIDTH, HEIGHT = 620, 300
FIXED, STEP = 1.1, 1.9  # the weights w, and the length of δ


def network(weight: float) -> float:
    """Return an answer that depends on the weight in a curved way."""
    return 1.35 * math.sin(0.9 * weight) + 0.42 * weight


def slope(weight: float) -> float:
    """Return its derivative."""
    return 1.35 * 0.9 * math.cos(0.9 * weight) + 0.42


def svg() -> str:
    """Return the figure."""
    title = "A component moves along the tangent at the fixed weights, not along the network"
    canvas = Canvas(WIDTH, HEIGHT, title)
    _draw_lines(canvas)
    _draw_weights(canvas)
    at = _at(FIXED, network(FIXED))
    canvas.dot(at, colour=INK)
    canvas.text(_plus(at, -8, -8), "f_w, the backbone's answer", anchor="end", size=12)
    at = _at(FIXED + STEP, _linear(FIXED + STEP))
    canvas.dot(at, colour=BLUE)
    served = "f_w + J·δ: what is served"
    canvas.text(_plus(at, 10, 4), served, anchor="start", fill=BLUE, bold=True)
    at = _at(FIXED + STEP, network(FIXED + STEP))
    canvas.dot(at, colour=LINE)
    canvas.text(_plus(at, 10, 4), "f at w + δ: never used", anchor="start", fill=SOFT, size=12)
    return canvas.svg()


def _draw_lines(canvas: Canvas) -> None:
    """Draw the network's answer and its tangent."""
    canvas.line([_at(x, _linear(x)) for x in (0.35, 3.35)], colour=BLUE)
    canvas.line([_at(x / 20, network(x / 20)) for x in range(81)], colour=LINE, width=2)


def _draw_weights(canvas: Canvas) -> None:
    """Draw the axis of the weights with the component on it."""
    moved = FIXED + STEP
    for x, top in ((FIXED, network(FIXED)), (moved, _linear(moved))):
        canvas.line([_at(x, top), _at(x, 0)], colour="#c9ced6", dashed=True)
    canvas.arrow(_at(0, 0), _at(4.15, 0), colour=INK)
    canvas.arrow(_at(FIXED, 0.06), _at(moved, 0.06), colour=ORANGE, width=2.5)
    middle = _plus(_at((FIXED + moved) / 2, 0.06), 0, -8)
    canvas.text(middle, "δ, the component", fill=ORANGE, bold=True)
    canvas.text(_plus(_at(4.05, 0), 0, 20), "weights", fill=SOFT)
    for x, name in ((FIXED, "w, fixed"), (moved, "w + δ")):
        canvas.text(_plus(_at(x, 0), 0, 20), name)


def _linear(weight: float) -> float:
    return network(FIXED) + slope(FIXED) * (weight - FIXED)


def _at(weight: float, answer: float) -> tuple[float, float]:
    return 70 + 88 * weight, HEIGHT - 40 - 68 * answer


def _plus(point: tuple[float, float], right: float, down: float) -> tuple[float, float]:
    return point[0] + right, point[1] + down
