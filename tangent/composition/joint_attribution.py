"""Attribution of an answer by the rule `joint`: see `attribution`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.components.delta import Delta
from tangent.composition import joint_one_shot
from tangent.composition.compose import alone, pooled
from tangent.composition.joint import all_base_rows, statistics_of
from tangent.composition.logit_effects import ALONE, Answer, Turn, logits_by_delta
from tangent.solvers.normal_equations import NormalEquations
from tangent.solvers.ridge import factor, substituted
from tangent.spaces.space import Space

Weighted = tuple[Component, float]
# f_w, the logits of every part's share, and for every part the answer of all other parts
Attributed = tuple[Tensor, list[Tensor], list[Answer | None]]


def attribute_joint(
    space: Space,
    images: Tensor,
    parts: Sequence[Weighted],
    labels: tuple[str, ...],
    turn: Turn = ALONE,
) -> Attributed:
    """Return f_w, every share's logits and, for every part, the answer of all other parts."""
    if not space.joint_is_exact:
        return _at_blocks(space, images, parts, labels, turn)
    own = [Delta(labels, head, {}) for head in joint_shares(space, parts, labels)]
    rests = list(_rests(space, parts, labels)) if len(parts) > 1 else []
    found = logits_by_delta(space, images, [*own, *rests], turn)
    answers: list[Answer | None] = [
        Answer(delta.labels, base + moved)
        for delta, (base, moved) in zip(rests, found[len(own) :], strict=True)
    ]
    shown = [moved for _, moved in found[: len(own)]]
    return found[0][0], shown, answers or [None]


def _at_blocks(
    space: Space, images: Tensor, parts: Sequence[Weighted], labels: tuple[str, ...], turn: Turn
) -> Attributed:
    """Return the same at block scopes, where the averaged block adds to the logits."""
    if len(parts) == 1:
        ((base, moved),) = logits_by_delta(space, images, [alone(parts[0][0])], turn)
        return base, [moved], [None]
    weights = torch.tensor([weight for _, weight in parts], dtype=torch.float64)
    heads, rests = _deltas_behind_blocks(space, parts, labels, weights)
    nothing = torch.zeros(len(labels), space.readout_width, dtype=torch.float64)
    blocks = [Delta(labels, nothing, component.backbone) for component, _ in parts]
    found = logits_by_delta(space, images, [*blocks, *heads, *rests], turn)
    count = len(parts)
    own = torch.stack([moved for _, moved in found[:count]])
    answers: list[Answer | None] = []
    for at, (delta, (base, moved)) in enumerate(zip(rests, found[2 * count :], strict=True)):
        if not delta.backbone:  # several other parts: their averaged block adds to their head
            left = _without(weights, at)
            columns = [labels.index(name) for name in delta.labels]
            moved = moved + torch.einsum("t,tbk->bk", left / left.sum(), own)[:, columns]
        answers.append(Answer(delta.labels, base + moved))
    shown = [
        moved + weight / weights.sum() * block
        for (_, moved), weight, block in zip(found[count : 2 * count], weights, own, strict=True)
    ]
    return found[0][0], shown, answers


def _deltas_behind_blocks(
    space: Space, parts: Sequence[Weighted], labels: tuple[str, ...], weights: Tensor
) -> tuple[list[Delta], list[Delta]]:
    """Return, for every part, its share of the head and the delta of all other parts.

    Several other parts have a head alone here; a single one is its own optimum, block included.
    """
    inner, crosses = joint_one_shot.inner_products(parts), joint_one_shot.crosses(parts)

    def effect_of_others(at: int) -> Tensor:
        left = _without(weights, at)
        r = left * joint_one_shot.shares(inner, left)
        return torch.stack([share * cross for share, cross in zip(r, crosses, strict=True)]).sum(0)

    shares = joint_one_shot.shares(inner, weights)
    behind = [share * cross for share, cross in zip(shares, crosses, strict=True)]
    heads = joint_shares(space, parts, labels, behind)
    rests = [
        alone(parts[1 - at][0]) if len(parts) == 2 else rest
        for at, rest in enumerate(_rests(space, parts, labels, effect_of_others))
    ]
    return [Delta(labels, head, {}) for head in heads], rests


def _without(weights: Tensor, at: int) -> Tensor:
    """Return a copy of the weights with a zero at this place."""
    left = weights.clone()
    left[at] = 0
    return left


def joint_shares(
    space: Space,
    parts: Sequence[Weighted],
    labels: tuple[str, ...],
    behind: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Return every part's share of the joint head (K, D); the shares sum to the head.

    behind: the effect of the block in front on each part's data, (D, width).
    """
    problem, base = pooled(space, parts), all_base_rows(space, labels)
    lower = factor(problem.gram, problem.ridge(base))
    base = base[: len(labels)]
    shares = []
    for at, (component, weight) in enumerate(parts):
        statistics = statistics_of(component)
        right = -weight * (base @ statistics.gram)
        if behind is not None:
            right -= weight * (base[:, : space.width] @ behind[at].T)
        for row, name in enumerate(statistics.labels):
            beta = float(component.hyperparameters["beta"])
            right[labels.index(name)] += weight * beta * statistics.sums[row]
        shares.append(substituted(lower, right.T).T)
    return shares


def _rests(
    space: Space,
    parts: Sequence[Weighted],
    labels: tuple[str, ...],
    behind: Callable[[int], Tensor] | None = None,
) -> Iterator[Delta]:
    """Yield, for each part, the joint head of all other parts.

    behind: the weighted effect of the block in front on the data of all other parts, (D, width).
    """
    for at, pool in enumerate(_pools(space, parts, labels, None)):
        others = [component for i, (component, _) in enumerate(parts) if i != at]
        kept = tuple(sorted({name for component in others for name in component.labels}))
        rows = [labels.index(name) for name in kept]
        base = all_base_rows(space, kept)
        problem = replace(pool, targets=pool.targets[rows])
        if behind is not None:
            problem = problem.settled(base)
            moved = base[: len(kept), : space.width] @ behind(at).T
            problem = replace(problem, targets=problem.targets - moved)
        yield Delta(kept, problem.solve(base), {})


def _pools(
    space: Space,
    parts: Sequence[Weighted],
    labels: tuple[str, ...],
    outside: NormalEquations | None,
) -> Iterator[NormalEquations]:
    """Yield, for each part, the problem of all other parts: O(T log T) sums, no subtraction."""
    if len(parts) == 1:
        assert outside is not None
        yield outside
        return
    halves = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    for inside, beside in (halves, halves[::-1]):
        own = pooled(space, beside)
        names = sorted({name for component, _ in beside for name in component.labels})
        targets = own.targets.new_zeros(len(labels), own.targets.shape[1])
        targets[[labels.index(name) for name in names]] = own.targets
        pool = replace(own, targets=targets)
        yield from _pools(space, inside, labels, pool + outside if outside else pool)
