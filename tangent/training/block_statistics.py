"""The statistics of a block scope: those of the head, and what the trained block adds to it."""

import torch

from tangent.backbones.features import with_constant
from tangent.components.delta import TangentDict
from tangent.components.statistics import Statistics, measure, total
from tangent.training.problem import Problem


def measured(problem: Problem, delta: TangentDict) -> Statistics:
    """G, s, n and C of the problem's rows, each counted once however many views it has."""
    engine = problem.space.engine
    assert engine is not None
    prepared = engine.prepare({name: v for name, v in delta.items() if name != "head"})
    summed: Statistics | None = None
    cross = torch.zeros(problem.space.readout_width, problem.space.width, dtype=torch.float64)
    names, at = problem.row_labels, 0
    for rows, _ in problem.chunks():
        phi, (along,) = engine.push(rows, [prepared])
        psi = with_constant(phi).double()
        found = measure(psi, names[at : at + len(rows)])
        at += len(rows)
        cross += (psi.T @ along.double()).cpu()
        summed = found if summed is None else total([summed, found], [1.0, 1.0])
    assert summed is not None
    share = 1 / problem.hyperparameters.views
    whole = total([summed], [share])
    return Statistics(whole.packed, whole.sums, whole.counts, share * cross)
