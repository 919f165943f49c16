"""Three parties with points in a plane: the algebra of the service in two dimensions.

The features of a point are fixed, as those of a frozen backbone are. A component's sums are
G = Σ ψψᵀ and, of each label, s = Σ ψ; they are kept in whole units of a grid, so that they add and
subtract exactly. All is computed by Python's own arithmetic, the same on every machine.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

PARTIES = (("a", "b"), ("c", "d"), ("e", "f"))
LABELS = "abcdef"
UNIT = 2.0**-12  # of a feature
TARGET, PENALTY = 1.0, 4.0
POINTS = 14  # of each label
Point = tuple[float, float]


@dataclass(frozen=True)
class Sums:
    """Sums over points, all that a component keeps of them."""

    gram: tuple[int, ...]
    features: dict[str, tuple[int, ...]]

    def __add__(self, other: "Sums") -> "Sums":
        gram = tuple(a + b for a, b in zip(self.gram, other.gram, strict=True))
        return Sums(gram, self.features | other.features)


def points(label: str) -> list[Point]:
    """Return the points of a label: around a place of its own, spread by a fixed rule."""
    number = LABELS.index(label)
    angle = 2 * math.pi * (number + 0.27) / len(LABELS)
    found = []
    for n in range(POINTS):
        turn, far = 2.399963 * (n + 5 * number), 0.075 * math.sqrt(n + 0.6)
        x = 0.62 * math.cos(angle) + far * math.cos(turn)
        y = 0.62 * math.sin(angle) + far * math.sin(turn)
        found.append((round(x, 4), round(y, 4)))
    return found


def features(point: Point) -> tuple[int, ...]:
    """Return the features of a point, in whole units."""
    x, y = point
    return tuple(round(each / UNIT) for each in (1.0, x, y, x * x, y * y, x * y))


def sums(labels: str) -> Sums:
    """Return the sums over all points of these labels."""
    rows = [(label, features(each)) for label in labels for each in points(label)]
    width = len(rows[0][1])
    gram = tuple(
        sum(row[i] * row[j] for _, row in rows) for i in range(width) for j in range(width)
    )
    found = {}
    for label in labels:
        own = [row for name, row in rows if name == label]
        found[label] = tuple(sum(column) for column in zip(*own, strict=True))
    return Sums(gram, found)


def solved(held: Sums) -> dict[str, list[float]]:
    """Return each label's weights: (G + cI) δ = β s, solved in fractions."""
    width = math.isqrt(len(held.gram))
    square = Fraction(UNIT) ** 2
    matrix = [[held.gram[i * width + j] * square for j in range(width)] for i in range(width)]
    for i in range(width):
        matrix[i][i] += Fraction(PENALTY)
    names = sorted(held.features)
    right = [
        [Fraction(TARGET) * held.features[name][i] * Fraction(UNIT) for name in names]
        for i in range(width)
    ]
    rows = [a + b for a, b in zip(matrix, right, strict=True)]
    for i in range(width):
        rows[i] = [each / rows[i][i] for each in rows[i]]
        for other in range(width):
            if other != i and rows[other][i]:
                factor = rows[other][i]
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[i], strict=True)]
    return {name: [float(row[width + n]) for row in rows] for n, name in enumerate(names)}


def average(models: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Return the mean of components; one that does not know a label adds nothing to it."""
    total: dict[str, list[float]] = {}
    for model in models:
        for name, weights in model.items():
            held = total.setdefault(name, [0.0] * len(weights))
            total[name] = [a + b / len(models) for a, b in zip(held, weights, strict=True)]
    return total


def answer(model: dict[str, list[float]], point: Point) -> str:
    """Return the label that a model gives a point."""
    row = [each * UNIT for each in features(point)]
    scores = {
        name: sum(a * b for a, b in zip(weights, row, strict=True))
        for name, weights in model.items()
    }
    return max(sorted(scores), key=lambda name: scores[name])


def accuracy(model: dict[str, list[float]]) -> float:
    """Return the share of all points that get their own label."""
    asked = [(label, point) for label in LABELS for point in points(label)]
    return sum(answer(model, point) == label for label, point in asked) / len(asked)
