"""Statistics at a block scope: those of the head, and the cross term of the trained block."""

import torch

from tangent.backbones.features import with_constant
from tangent.components.delta import TangentDict
from tangent.components.statistics import Statistics, measure, total
from tangent.training.problem import TrainingProblem


def measured(problem: TrainingProblem, delta: TangentDict) -> Statistics:
    """G, s, n and C of the problem's images; an image counts once, however many views it has."""
    engine = problem.space.engine
    assert engine is not None
    prepared = engine.prepare({name: v for name, v in delta.items() if name != "head"})
    summed: Statistics | None = None
    cross = torch.zeros(problem.space.readout_width, problem.space.width, dtype=torch.float64)
    names, at = problem.row_labels, 0
    for rows, _ in problem.chunks():
        phi, (along,) = engine.push(rows, [prepared])
        psi = with_constant(phi).double()
        part = measure(psi, names[at : at + len(rows)])
        at += len(rows)
        cross += (psi.T @ along.double()).cpu()
        summed = part if summed is None else total([summed, part], [1.0, 1.0])
    assert summed is not None
    share = 1 / problem.hyperparameters.views
    whole = total([summed], [share])
    return Statistics(whole.packed, whole.sums, whole.counts, share * cross)
