"""Linearisation error: the distance between the network and its tangent model along delta.

The papers leave open when linearisation stops being good. Nothing here depends on the answer: a
component is served as a tangent vector, at any length. But a large error says that fine-tuning the
network itself on the same data would have given another model.
"""

import torch

from tangent.backbones.features import with_constant
from tangent.components.delta import TangentDict
from tangent.training.problem import TrainingProblem

STEPS = (0.1, 0.3, 1.0)  # t, from the base point to delta itself
IMAGES = 64  # spread over all


def linearisation_errors(problem: TrainingProblem, delta: TangentDict) -> dict[str, float]:
    """|f_{w+t·delta} - h_{t·delta}| / |h_{t·delta} - f_w| over some images' logits, by t.

    Zero at scopes whose output is linear in delta.
    """
    engine, suffix = problem.space.engine, problem.space.suffix
    if engine is None or suffix is None:
        return {_name(t): 0.0 for t in STEPS}
    count = len(problem.rows)
    index = torch.linspace(0, count - 1, min(IMAGES, count)).round().long().unique()
    rows, _ = problem.batch(index)
    base, change = problem.outputs(rows, delta)
    activation, errors = engine.activation(rows), {}
    for t in STEPS:
        moved = {name: p + t * delta[name] for name, p in suffix.base.items()}
        with torch.no_grad():
            psi = with_constant(suffix.features(moved, activation))
        network = psi @ (problem.base.to(psi) + t * delta["head"].to(psi)).T
        tangent = base + t * change
        length = (t * change).norm()
        errors[_name(t)] = ((network - tangent).norm() / length).item() if length else 0.0
    return errors


def _name(t: float) -> str:
    return f"departure_at_{t:g}"
