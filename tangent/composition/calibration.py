"""Calibration of a selection: how new and how sure its answers are, from its own training images.

It is a function of the components' files and of the images given: of every change of the
selection, a deletion above all, another one has to be made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tangent.composition.compose import Part, lambdas
from tangent.composition.leave_one_out import Copies, check_rows, scores_without
from tangent.composition.leverage import Leverage, curvature, left_out, leverages
from tangent.errors import NoStatistics, NotLeftOut
from tangent.solvers.temperature import fitted_temperature
from tangent.spaces.space import Space

NO_IMAGES = (
    "there is no image of the training to judge by, as all components were imported, derived from "
    "others, or are private"
)


@dataclass(frozen=True)
class Calibration:
    """The numbers by which a selection's answers are judged; None with the reason against it."""

    images: int  # of training, that it was made from
    leverage: Leverage | None
    usual: Tensor  # (n,) leverages of training images, each left out, ascending
    temperature: float | None
    no_novelty: str | None = None
    no_temperature: str | None = None

    def novelty(self, leverage: Tensor) -> Tensor:
        """Return the share of training images that are less new than the images of `leverage`."""
        return torch.searchsorted(self.usual, leverage).double() / len(self.usual)


def calibrated(
    space: Space, parts: Sequence[Part], rule: str, psi: Tensor, copies: Copies
) -> Calibration:
    """Calibrate the answers of a selection by some of its training images, psi (n, D).

    `parts` in the order of the components' hashes.

    Raises:
        TangentError: as `compose`.
    """
    weights = lambdas([weight for _, weight in parts], rule)
    counted = [at for at, weight in enumerate(weights) if weight]
    leverage, usual = None, torch.zeros(0, dtype=torch.float64)
    temperature, no_novelty, no_temperature, lower = None, None, None, None
    if not len(psi):
        return Calibration(0, None, usual, None, NO_IMAGES, NO_IMAGES)
    try:
        lower = curvature(space, [parts[at][0] for at in counted])
        usual = _usual(lower, parts, weights, psi, copies)
        leverage = Leverage(lower, space.device)
    except (NoStatistics, NotLeftOut) as error:
        no_novelty = str(error)
    try:
        # Under joint, images that count once are left out of the same problem: its penalty, whose
        # choice is most of the work, is not chosen twice.
        is_same = rule == "joint" and all(weights[at] == 1 for at in counted)
        temperature = _temperature(space, parts, rule, psi, copies, lower if is_same else None)
    except (NoStatistics, NotLeftOut) as error:
        no_temperature = str(error)
    return Calibration(len(psi), leverage, usual, temperature, no_novelty, no_temperature)


def _usual(
    lower: Tensor, parts: Sequence[Part], weights: Sequence[float], psi: Tensor, copies: Copies
) -> Tensor:
    """Return the images' leverages, each left out, ascending."""
    for at in sorted({copy.part for each in copies for copy in each}):
        check_rows(parts[at][0])
    own = [float(sum(weights[part] != 0 for part, _ in each)) for each in copies]
    found = left_out(leverages(lower, psi), torch.tensor(own, dtype=torch.float64))
    return found.sort().values


def _temperature(
    space: Space,
    parts: Sequence[Part],
    rule: str,
    psi: Tensor,
    copies: Copies,
    lower: Tensor | None,
) -> float:
    """Return the temperature by scores of images that were left out; each copy is an example."""
    labels, scores = scores_without(space, parts, rule, psi, copies, lower)
    shown = [
        (row, labels.index(name))
        for row, each in enumerate(copies)
        for _, name in each
        if name in labels
    ]
    rows, truth = torch.tensor(shown, dtype=torch.long).reshape(-1, 2).T
    return fitted_temperature(scores[rows], truth)
