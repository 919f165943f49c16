"""The problem that `joint` solves, summed over components; a change costs the changed component.

At lambda = 1 the sums G and s (see `normal_equations`) are exact (see `features`), so after any
changes they have the bits of fresh sums. For targets and ridge to have these bits too,
components of one beta are summed before the multiplication by beta, and components of one mu before
that by mu; the products are summed in the order of beta and mu, not in that of the components.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.components.delta import Delta
from tangent.components.statistics import Statistics, unpack
from tangent.errors import NoStatistics, Overflow
from tangent.solvers.normal_equations import NormalEquations
from tangent.spaces.space import Space

Weighted = Sequence[tuple[Component, float]]


class ImageGroup(NamedTuple):
    """The settings under which the problem counts an image."""

    weight: float
    beta: float
    l2: float
    chosen: bool


class Factor(NamedTuple):
    """The settings by whose product a label's sums are multiplied in the targets."""

    weight: float
    beta: float


class JointSums:
    """The sums over components of one space, in the order in which the components come."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._packed: Tensor | None = None
        self._sums: defaultdict[Factor, dict[str, Tensor]] = defaultdict(dict)
        self._counts: defaultdict[Factor, dict[str, float]] = defaultdict(dict)
        self._images: defaultdict[ImageGroup, float] = defaultdict(float)

    def add(self, parts: Weighted, sign: int = 1) -> None:
        """Add components, or remove them with sign -1 and the weights that they were added with.

        Raises:
            NoStatistics: a component carries no statistics.
        """
        for component, weight in parts:
            found = statistics_of(component)
            packed = found.packed
            if self._packed is None:
                self._packed = torch.zeros_like(packed)
            self._packed.add_(packed, alpha=sign * weight)
            settings = component.hyperparameters
            beta, l2 = float(settings["beta"]), float(settings["l2"])
            group = ImageGroup(weight, beta, l2, settings.get("choose_l2") is True)
            self._images[group] += sign * found.images
            if not self._images[group]:
                del self._images[group]
            self._add_sums(Factor(weight, beta), found, sign)

    def change(self, added: Weighted, removed: Weighted = (), *, divisor: float = 1.0) -> Delta:
        """Return the optimum after the change, at a linear scope; all weights must be 1.

        Raises:
            Overflow: the sums may not be exact, so that later changes could leave a trace.
            NoStatistics: as `add`.
        """
        assert divisor == 1 and all(weight == 1 for _, weight in (*added, *removed))
        if any(part.hyperparameters.get("views", 1) != 1 for part, _ in added):
            raise Overflow("sums over several views of an image are not on the grid")
        self.add(added)
        self._check()
        self.add(removed, -1)
        return self.delta()

    def delta(self) -> Delta:
        """Return the optimum: one head row for each label that has images."""
        pooled, labels = self.pooled(), self.labels
        return Delta(labels, pooled.solve(all_base_rows(self.space, labels)), {})

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that have images, sorted."""
        return tuple(sorted({name for counts in self._counts.values() for name in counts}))

    def pooled(self) -> NormalEquations:
        """Return the problem, with targets of the labels that have images.

        mu is chosen from the data where all components request it.
        """
        own = self.labels
        targets = torch.zeros(len(own), self.space.readout_width, dtype=torch.float64)
        for factor, name, value, _ in self.label_parts():
            targets[own.index(name)].add_(value, alpha=factor.weight * factor.beta)
        return NormalEquations(
            gram=self.gram(),
            targets=targets,
            images=self._summed(lambda group: group.weight),
            spread=self._summed(lambda group: group.weight**2),
            energy=self._summed(lambda group: group.weight * group.beta**2),
            penalty=self._summed(lambda group: group.weight * group.l2),
            chosen=all(group.chosen for group in self._images),
            rows=sum(self._images.values()),
        )

    def gram(self) -> Tensor:
        """Return G (D, D)."""
        assert self._packed is not None
        return unpack(self._packed, self.space.readout_width)

    def label_parts(self) -> Iterator[tuple[Factor, str, Tensor, float]]:
        """Yield s and the number of images of each label, by ascending weight and beta."""
        for factor in sorted(self._sums):
            for name, value in self._sums[factor].items():
                yield factor, name, value, self._counts[factor][name]

    def _summed(self, factor: Callable[[ImageGroup], float]) -> float:
        """Return the sum of a factor over images: images of one factor first, then by factor."""
        counts: defaultdict[float, float] = defaultdict(float)
        for group, images in self._images.items():
            counts[factor(group)] += images
        return sum(each * images for each, images in sorted(counts.items()))

    def _add_sums(self, factor: Factor, found: Statistics, sign: int) -> None:
        sums, counts = self._sums[factor], self._counts[factor]
        for row, (name, count) in enumerate(found.counts.items()):
            term = sign * found.sums[row]
            sums[name] = sums[name] + term if name in sums else term
            counts[name] = counts.get(name, 0.0) + sign * count
            if not counts[name]:
                del sums[name], counts[name]

    def _check(self) -> None:
        grid = self.space.grid
        assert grid is not None and self._packed is not None
        width, images = self.space.readout_width, sum(self._images.values())
        sums = torch.zeros(0, width, dtype=torch.float64)
        grid.check(Statistics(self._packed, sums, {}).squares, images)


def all_base_rows(space: Space, labels: Sequence[str]) -> Tensor:
    """Return the base rows (K, D) of these labels, then of the space's other declared labels."""
    others = [name for name in space.declared if name not in labels]
    return space.base_rows([*labels, *others])


def statistics_of(component: Component) -> Statistics:
    """Return the component's statistics.

    Raises:
        NoStatistics: the component carries none.
    """
    if component.derived:
        raise NoStatistics(
            "rules joint and discriminant need the statistics of a component's data, and one that "
            "was derived from others has none: compose its parents, or use average or weighted"
        )
    if component.statistics is None:
        raise NoStatistics(
            "a component carries no statistics of its data, which rules joint and discriminant "
            "need: use rule average or weighted, or train it again"
        )
    return component.statistics
