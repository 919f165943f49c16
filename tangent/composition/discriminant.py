"""Rule `discriminant`: every label equally likely, from the sums that `joint` takes.

The penalty is always chosen from the pooled sums (see `solvers.discriminant` for the rest): what
components are trained with is for their own regressions.
"""

from collections.abc import Sequence

import torch

from tangent.components.component import Component
from tangent.components.delta import Delta
from tangent.composition.joint import JointSums, all_base_rows
from tangent.errors import RuleUnavailable
from tangent.solvers.discriminant import CAUTION, LabelSums, head_rows
from tangent.spaces.space import Space


class DiscriminantSums(JointSums):
    """The sums over components of one space, read by the rule `discriminant`."""

    def delta(self) -> Delta:
        """Return the delta that makes the head that of the discriminant."""
        rows = head_rows(self.label_sums(), self.ridge())
        return Delta(self.labels, rows - self.space.base_rows(self.labels), {})

    def ridge(self) -> float:
        """Return c, chosen for the discriminant."""
        problem, base = self.pooled(), all_base_rows(self.space, self.labels)
        return 0.5 * problem.l2(base, CAUTION) * problem.images * len(base)

    def label_sums(self) -> LabelSums:
        """Return the sums of every label, in the order of `labels`."""
        own = self.labels
        sums = torch.zeros(len(own), self.space.readout_width, dtype=torch.float64)
        counts = torch.zeros(len(own), dtype=torch.float64)
        spreads = torch.zeros(len(own), dtype=torch.float64)
        for factor, name, value, count in self.label_parts():
            row = own.index(name)
            sums[row].add_(value, alpha=factor.weight)
            counts[row] += factor.weight * count
            spreads[row] += factor.weight**2 * count
        return LabelSums(self.gram(), sums, counts, spreads)


def discriminant(space: Space, parts: Sequence[tuple[Component, float]]) -> Delta:
    """Return the discriminant of all components' data, each image counted lambda_t times.

    Raises:
        TangentError: as `summed`.
    """
    return summed(space, parts).delta()


def summed(space: Space, parts: Sequence[tuple[Component, float]]) -> DiscriminantSums:
    """Return the sums over the components.

    Raises:
        RuleUnavailable: the output is not linear in fixed features.
        NoStatistics: a component carries none.
    """
    if not space.joint_is_exact:
        raise RuleUnavailable(
            f"rule discriminant needs features that do not move, at scope head or head2toe, and "
            f"scope {space.scope} moves them: use rule joint, or open a space of such a scope"
        )
    sums = DiscriminantSums(space)
    sums.add(parts)
    return sums
