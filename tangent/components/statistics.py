"""Sufficient statistics of a dataset under the square loss, for the head.

    G = sum of psi psiᵀ        s_l = sum of psi over the images of label l        n_l = their number

They are sums over images, so the statistics of a union are the sums of the parts' statistics. They
do not depend on labels that the dataset lacks, on the penalty, or on the target beta. At scopes
linear in psi they determine the solution, and psi lies on a grid on which the sums are exact
(see `features`): the contribution of an image can be subtracted bit for bit.

Block scopes add C = sum of psi (J phi·delta)ᵀ with the component's own direction of the backbone:
the effect of its block on its own data, as the head reads it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from tangent.components import exact_products
from tangent.components.mapped_tensors import empty
from tangent.components.whole_numbers import WholeNumbers, whole_numbers
from tangent.errors import NotDowndatable

SQUARE = 128  # rows of a Gram matrix that are mirrored at a time


@dataclass(frozen=True)
class CompactTriangle:
    """The upper triangle of G, row by row, in units of the products of two steps."""

    units: WholeNumbers
    steps: Tensor  # (D,) powers of two

    def numbers(self) -> Tensor:
        """Return the triangle as float64, exactly."""
        found = self.units.numbers()
        numbers, steps, start = found.numpy(), self.steps.numpy(), 0
        for i, step in enumerate(steps):
            row = numbers[start : start + len(steps) - i]
            np.multiply(row, step * steps[i:], out=row)
            start += len(row)
        return found


@dataclass(frozen=True)
class Statistics:
    """float64, on the CPU wherever psi was; `labels` sorted, `sums` and `counts` in their order."""

    triangle: Tensor | CompactTriangle  # G's upper triangle, row by row: D (D + 1) / 2 numbers
    sums: Tensor  # (K, D)
    counts: dict[str, float]
    cross: Tensor | None = None  # (D, width), at block scopes

    @property
    def packed(self) -> Tensor:
        """The triangle as float64; made anew at each call where it is compact."""
        return self.triangle if isinstance(self.triangle, Tensor) else self.triangle.numbers()

    def compact(self, steps: Tensor) -> CompactTriangle | None:
        """Return the triangle in whole units of these steps; None if it is not whole in them."""
        if isinstance(self.triangle, CompactTriangle) and torch.equal(self.triangle.steps, steps):
            return self.triangle
        numbers = self.packed.numpy().copy()
        inverse, start = (1 / steps).numpy(), 0
        for i, each in enumerate(inverse):
            row = numbers[start : start + len(inverse) - i]
            np.multiply(row, each * inverse[i:], out=row)
            start += len(row)
        units = whole_numbers(torch.from_numpy(numbers))
        return None if units is None else CompactTriangle(units, steps)

    @cached_property
    def gram(self) -> Tensor:
        """G (D, D), symmetric."""
        return unpack(self.packed, self.sums.shape[1])

    @property
    def squares(self) -> Tensor:
        """G's diagonal (D,)."""
        width = self.sums.shape[1]
        index = torch.arange(width)
        return self.packed[index * width - index * (index - 1) // 2]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels with images, sorted."""
        return tuple(self.counts)

    @property
    def images(self) -> float:
        """The number of images; a weighted image counts with its weight."""
        return sum(self.counts.values())


def measure(psi: Tensor, labels: Sequence[str], steps: Tensor | None = None) -> Statistics:
    """The statistics of features (n, D), on any device, with one label per row.

    steps: (D,) of the grid on which the features lie, if they do: the sums are exact then, by whole
    numbers where the device has no quick float64.
    """
    names = sorted(set(labels))
    column = {name: i for i, name in enumerate(names)}
    columns = torch.tensor([column[name] for name in labels], device=psi.device)
    counts = {name: float(sum(x == name for x in labels)) for name in names}
    if steps is not None and psi.device.type not in exact_products.QUICK_DOUBLES:
        numbers = exact_products.whole(psi, steps)
        if numbers is not None:
            sums = exact_products.label_sums(numbers, columns, len(names)).cpu().double() * steps
            gram = exact_products.products(numbers).cpu().double()
            return Statistics(pack(gram.mul_(steps[:, None]).mul_(steps)), sums, counts)
    psi = psi.to(torch.float64)
    sums = torch.zeros(len(names), psi.shape[1], dtype=torch.float64, device=psi.device)
    sums.index_add_(0, columns, psi)
    # The two triangles of a product may differ in the last bit: one is kept.
    return Statistics(pack(psi.T @ psi), sums.cpu(), counts)


def total(parts: Sequence[Statistics], weights: Sequence[float]) -> Statistics:
    """The weighted sum, taken in the given order; its labels are the union.

    `cross` is left out, as the parts may have different directions.
    """
    names = sorted({name for part in parts for name in part.labels})
    width = parts[0].sums.shape[1]
    packed = torch.zeros(width * (width + 1) // 2, dtype=torch.float64)
    sums = parts[0].sums.new_zeros(len(names), parts[0].sums.shape[1])
    counts = dict.fromkeys(names, 0.0)
    for part, weight in zip(parts, weights, strict=True):
        packed.add_(part.packed, alpha=weight)
        for row, name in enumerate(part.labels):
            sums[names.index(name)].add_(part.sums[row], alpha=weight)
            counts[name] += weight * part.counts[name]
    return Statistics(packed, sums, counts)


def less(whole: Statistics, part: Statistics) -> Statistics:
    """The whole minus the part, bit for bit where both are exact sums.

    A label without images is dropped.

    Raises:
        NotDowndatable: the part has more images of a label than the whole.
    """
    counts = dict(whole.counts)
    sums = whole.sums.clone()
    for row, (name, count) in enumerate(part.counts.items()):
        if counts.get(name, 0.0) < count:
            raise NotDowndatable(
                f"the statistics have {counts.get(name, 0):g} images of label {name!r}, "
                f"{count:g} are to be removed: they belong to another dataset"
            )
        counts[name] -= count
        sums[whole.labels.index(name)] -= part.sums[row]
    kept = [row for row, name in enumerate(whole.labels) if counts[name]]
    return Statistics(
        whole.packed - part.packed, sums[kept], {name: n for name, n in counts.items() if n}
    )


def relabelled(statistics: Statistics, names: Mapping[str, str]) -> Statistics:
    """The same images under other label names; labels that get the same name are merged."""
    counts: dict[str, float] = {}
    for name, count in statistics.counts.items():
        new = names.get(name, name)
        counts[new] = counts.get(new, 0.0) + count
    ordered = {name: counts[name] for name in sorted(counts)}
    sums = statistics.sums.new_zeros(len(ordered), statistics.sums.shape[1])
    rows = list(ordered)
    for row, name in enumerate(statistics.labels):
        sums[rows.index(names.get(name, name))] += statistics.sums[row]
    return replace(statistics, sums=sums, counts=ordered)


def pack(gram: Tensor) -> Tensor:
    """The upper triangle, row by row: D (D + 1) / 2 numbers, on the CPU."""
    # By numpy, here and below: its views of rows are much cheaper than torch's.
    return torch.from_numpy(np.concatenate([row[i:] for i, row in enumerate(gram.cpu().numpy())]))


def unpack(packed: Tensor, width: int) -> Tensor:
    """The symmetric matrix of a packed upper triangle."""
    gram = empty(width * width, torch.float64).view(width, width)
    numbers, start = packed.numpy(), 0
    for i, row in enumerate(gram.numpy()):
        row[i:] = numbers[start : start + width - i]
        start += width - i
    # In squares: column by column, every entry would lie in another cache line.
    for start in range(0, width, SQUARE):
        end = min(start + SQUARE, width)
        upper = gram[start:end, start:end].triu()
        gram[start:end, start:end] = upper + upper.triu(1).T
        gram[end:, start:end] = gram[start:end, end:].T
    return gram
