"""Composition: many components as one tangent vector.

| rule       | composed delta                                            | weights               |
|------------|-----------------------------------------------------------|-----------------------|
| `average`  | (1/T) sum of delta_t (eq. 2, the papers' TMC)             | none                  |
| `weighted` | sum of lambda_t delta_t                                   | a finite number each  |
| `joint`    | the optimum of all their data together, from statistics;  | none, or ≥ 0 each     |
|            | exact at linear scopes, else near (see `joint_one_shot`)  |                       |
| `discrimi- | the linear discriminant of all their data, every label    | none, or ≥ 0 each     |
| nant`      | equally likely; at linear scopes only                     |                       |

`average` and `weighted` sum integers on a fixed grid (`exact_sum`), the others sum statistics in
the order of the files' hashes and from nothing each time: the same set and weights give the same
bytes, whatever was added or deleted before. A part of weight 0 counts as absent, and so do its
labels. A single part of weight 1 is returned as it is, even off the grid.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from tangent.components.component import Component
from tangent.components.delta import Delta
from tangent.composition import joint_one_shot
from tangent.composition.delta_sum import DeltaSum
from tangent.composition.discriminant import discriminant
from tangent.composition.exact_sum import HOST
from tangent.composition.joint import JointSums, all_base_rows
from tangent.errors import BadWeight
from tangent.solvers.normal_equations import NormalEquations
from tangent.spaces.space import Space
from tangent.vocabulary import RULES, weight_fault

Part = tuple[Component, float | None]


def compose(
    space: Space,
    parts: Sequence[Part],
    rule: str,
    *,
    shas: Sequence[str],
    device: torch.device = HOST,
) -> Delta:
    """Return the weighted sum as one delta; `shas`, the files' hashes, set the order of the sum.

    `device`: where deltas are summed and where the sum's directions lie; all give the same bytes.

    Raises:
        ValueError: not as many hashes as parts.
        FingerprintMismatch: a component of another space.
        BadWeight: no parts, or a weight that the rule does not take.
        NoStatistics: joint or discriminant of a component that carries none.
        RuleUnavailable: discriminant at a block scope.
    """
    if not parts:
        raise BadWeight("a composition needs at least one component")
    if len(shas) != len(parts):
        raise ValueError(f"{len(parts)} components have {len(shas)} shas: give one for each")
    for component, _ in parts:
        space.check(component)
    weights = lambdas([weight for _, weight in parts], rule)
    counted = [i for i, weight in enumerate(weights) if weight != 0]
    order = sorted(counted, key=lambda i: (shas[i], weights[i]))
    ordered = [(parts[i][0], weights[i]) for i in order]
    if rule == "discriminant":
        return discriminant(space, ordered)
    if rule == "joint":
        labels = tuple(sorted({name for component, _ in ordered for name in component.labels}))
        return _joint(space, ordered, labels)
    if len(ordered) == 1 and ordered[0][1] == 1:
        return alone(ordered[0][0])
    return DeltaSum(space.readout_width, kept=False, device=device).change(
        ordered, divisor=divisor(rule, len(parts))
    )


def divisor(rule: str, count: int) -> float:
    """Return the divisor of the sum of lambda·delta over `count` components.

    `average` divides in the end, so its sum changes by one delta when a component comes or goes.
    """
    return float(count) if rule == "average" else 1.0


def lambdas(given: Sequence[float | None], rule: str) -> list[float]:
    """Return lambda_t of every part, before the division by `divisor`."""
    if rule not in RULES:
        raise BadWeight(f"no rule is called {rule!r}; choose one of {', '.join(RULES)}")
    for weight in given:
        if fault := weight_fault(rule, weight):
            raise BadWeight(f"a component has weight {weight!r}, but rule {rule} {fault}")
    weights = [1.0 if weight is None else float(weight) for weight in given]
    if not any(weights):
        raise BadWeight("all weights are 0: a composition needs at least one other weight")
    return weights


def alone(component: Component) -> Delta:
    """Copy the component's own delta; a view would keep its file's bytes after a deletion."""
    labels = tuple(sorted(component.labels))
    rows = [component.head_labels.index(name) for name in labels]
    head = component.head[torch.tensor(rows, dtype=torch.long)].to(torch.float64)
    return Delta(labels, head, {k: v.detach().clone() for k, v in component.backbone.items()})


def _joint(
    space: Space, parts: Sequence[tuple[Component, float]], labels: tuple[str, ...]
) -> Delta:
    """Return the head of joint training on the pooled data, each image counted lambda_t times.

    At block scopes the head stands behind the averaged block; a single component is its own
    optimum.
    """
    problem = pooled(space, parts)
    base = all_base_rows(space, labels)
    if space.joint_is_exact:
        return Delta(labels, problem.solve(base), {})
    if len(parts) == 1:
        return alone(parts[0][0])
    block = joint_one_shot.averaged(parts)
    problem = problem.settled(base)
    targets = problem.targets
    for (_, weight), effect in zip(parts, joint_one_shot.block_effects(parts, block), strict=True):
        targets = targets - weight * (base[: len(labels), : space.width] @ effect.T)
    return Delta(labels, replace(problem, targets=targets).solve(base), block)


def pooled(space: Space, parts: Sequence[tuple[Component, float]]) -> NormalEquations:
    """Return the problem that `joint` solves, with targets of the parts' labels, sorted.

    Every image keeps the target beta of its own component's training. The penalty is the mean of
    the components' l2 over all images; if every component has its l2 chosen from its data, the
    penalty is chosen from the pooled data. Components of the same settings are thus pooled under
    exactly these settings. At block scopes the problem is that of the head alone.

    Raises:
        NoStatistics: a component that carries none.
    """
    sums = JointSums(space)
    sums.add(parts)
    return sums.pooled()
