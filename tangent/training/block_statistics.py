"""Statistics at a block scope: those of the head, and the cross term of the trained block."""

import torch

from tangent.backbones.features import with_constant
from tangent.components.delta import TangentDict
from tangent.components.statistics import Statistics, measure, total
from tangent.training.cholesky import settled
from tangent.training.problem import TrainingProblem


def settle_penalty(problem: TrainingProblem) -> None:
    """Let the head's features choose the problem's l2, if its settings leave that open.

    The head alone is judged: what a moved block adds to its answers does not tell, to a sum over
    images, how much each image owes to itself.
    """
    if not problem.hyperparameters.choose_l2:
        return
    names, at, parts = problem.row_labels, 0, []
    for rows, _ in problem.chunks():
        parts.append(measure(problem.readout(rows), names[at : at + len(rows)]))
        at += len(rows)
    sums, settings = total(parts, [1.0] * len(parts)), problem.hyperparameters
    problem.hyperparameters = settled(sums, problem.labels, problem.base.cpu(), settings)


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
