"""Attribution: what each component added to a composed logit, and the answer without it.

The output is linear in delta, so it is the base's output plus one share for each component:

    h(x) = f_w(x) + sum over t of J share_t(x)

| rule       | share_t                                                            |
|------------|--------------------------------------------------------------------|
| `average`  | delta_t / T                                                        |
| `weighted` | lambda_t delta_t                                                   |
| `joint`    | (sum of lambda G + c I)⁻¹ lambda_t (beta_t s_t - G_t a)            |

At `joint` the right-hand side of the pooled problem is a sum over components, and share_t is the
solution for component t's own term under the curvature of all. The share is t's contribution to
this answer. The answer without t is another one: it solves the problem of the other components. At
block scopes the term is lambda_t (beta_t s_t - G_t a - r_t C_t w), and the share of the averaged
block is added (see `joint_one_shot`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.components.delta import Delta
from tangent.composition.compose import Part, divisor, lambdas
from tangent.composition.joint_attribution import Attributed, Weighted, attribute_joint
from tangent.composition.logit_effects import ALONE, Answer, Turn, logits_by_delta
from tangent.errors import RuleUnavailable
from tangent.spaces.space import Space


@dataclass(frozen=True)
class Attribution:
    """The base's answer and, for every part in order, its share and the answer without it."""

    base: Answer
    shares: list[Tensor]  # (B, K) each, in the base's columns; zero at weight 0
    rests: list[Answer | None]  # of all other parts; None where no other part has a weight


def attribute(
    space: Space,
    images: Tensor,
    parts: Sequence[Part],
    rule: str,
    *,
    shas: Sequence[str],
    turn: Turn = ALONE,
) -> Attribution:
    """Attribute the answer of `compose(space, parts, rule, shas=shas)` to its parts.

    The images (B, 3, S, S) go through the backbone once for all components. `turn` is held only
    while the space runs, not while linear systems are solved.

    Raises:
        RuleUnavailable: the answer is no sum over parts.
        TangentError: as `compose`.
    """
    weights = _checked_weights(space, parts, rule)
    counted = [i for i, weight in enumerate(weights) if weight != 0]
    labels = _labels([parts[i][0] for i in counted])
    if rule == "joint":
        counted.sort(key=lambda i: (shas[i], weights[i]))  # the order of the sums in `compose`
        weighted = [(parts[i][0], weights[i]) for i in counted]
        base, found, others = attribute_joint(space, images, weighted, labels, turn)
    else:
        scale = divisor(rule, len(parts))
        again = scale / divisor(rule, max(1, len(parts) - 1))  # `average` divides by one less
        weighted = [(parts[i][0], weights[i] / scale) for i in counted]
        base, found, others = _of_sum(space, images, weighted, labels, again, turn)
    zero = torch.zeros_like(base)
    whole = Answer(labels, base + torch.stack(found).sum(0))
    shares = dict(zip(counted, found, strict=True))
    rests = dict(zip(counted, others, strict=True))
    return Attribution(
        Answer(labels, base),
        [shares.get(i, zero) for i in range(len(parts))],
        [rests.get(i, whole) for i in range(len(parts))],
    )


def _checked_weights(space: Space, parts: Sequence[Part], rule: str) -> list[float]:
    """Return lambda_t of every part, once components and rule have been checked."""
    if rule == "discriminant":
        raise RuleUnavailable(
            "an answer by rule discriminant is no sum over components, so none has a contribution "
            "to it: ask by rule joint, or compare compositions with and without a component"
        )
    weights = lambdas([weight for _, weight in parts], rule)
    for component, _ in parts:
        space.check(component)
    return weights


def _labels(components: Sequence[Component]) -> tuple[str, ...]:
    return tuple(sorted({name for component in components for name in component.labels}))


def _of_sum(
    space: Space,
    images: Tensor,
    parts: Sequence[Weighted],
    labels: tuple[str, ...],
    again: float,
    turn: Turn,
) -> Attributed:
    """Attribute a weighted sum of deltas; `again` scales the weights where a part is left out."""
    components = [component for component, _ in parts]
    base, moved = logits_by_component(space, images, components, labels, turn)
    shares = [weight * one for (_, weight), one in zip(parts, moved, strict=True)]
    rests = [
        _rest(base, shares, again, labels, _labels(components[:at] + components[at + 1 :]), at)
        for at in range(len(parts))
    ]
    return base, shares, rests


def logits_by_component(
    space: Space,
    images: Tensor,
    components: Sequence[Component],
    labels: tuple[str, ...],
    turn: Turn = ALONE,
) -> tuple[Tensor, list[Tensor]]:
    """Return f_w and every J·delta_t (B, K) on these labels, zero for a label that a head lacks."""
    deltas = []
    for component in components:
        place = {name: row for row, name in enumerate(component.head_labels)}
        head = torch.zeros(len(labels), space.readout_width, dtype=torch.float64)
        for row, name in enumerate(labels):
            if name in place:
                head[row] = component.head[place[name]]
        deltas.append(Delta(labels, head, component.backbone))
    found = logits_by_delta(space, images, deltas, turn)
    return found[0][0], [moved for _, moved in found]


def _rest(
    base: Tensor,
    shares: Sequence[Tensor],
    scale: float,
    labels: tuple[str, ...],
    kept: tuple[str, ...],
    without: int,
) -> Answer | None:
    """Return the sum of all other shares on the other parts' labels, or None without others."""
    others = [share for at, share in enumerate(shares) if at != without]
    if not others:
        return None
    columns = torch.tensor([labels.index(name) for name in kept], dtype=torch.long)
    return Answer(kept, (base + scale * torch.stack(others).sum(0))[:, columns])
