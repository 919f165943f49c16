"""Attribution: what each component added to a composed logit, and the answer without it.

The output is linear in delta, so it falls apart into the base's part and one share a component:

    h(x) = f_w(x) + sum over t of J share_t(x)

| rule       | share_t                                                            |
|------------|--------------------------------------------------------------------|
| `average`  | delta_t / T                                                        |
| `weighted` | lambda_t delta_t                                                   |
| `joint`    | (sum of lambda G + c I)⁻¹ lambda_t (beta_t s_t - G_t a)            |

At `joint` the right-hand side of the pooled problem is a sum over components, and share_t is the
solution for component t's own term under the curvature of all. It is what t contributed to this
answer, not what would change without it: that is the answer without t, in which the rest is solved
anew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tangent.component import Component
from tangent.compose import Part, divisor, lambdas, pooled
from tangent.delta import Delta
from tangent.joint import factor, solve
from tangent.readout import with_constant
from tangent.space import CHUNK, Space

Weighted = tuple[Component, float]
MOST_PARAMETERS = 2**28  # of all directions that are on the device at a time


@dataclass(frozen=True)
class Answer:
    """Logits (B, K) float64 with the labels of their columns, sorted."""

    labels: tuple[str, ...]
    logits: Tensor


@dataclass(frozen=True)
class Attribution:
    """The base's answer and, in the order of the parts, each one's share and the rest's answer."""

    base: Answer
    shares: list[Tensor]  # (B, K) each, in the base's columns; zero at weight 0
    rests: list[Answer | None]  # of all others; None where no other has a weight


def attribute(
    space: Space, images: Tensor, parts: Sequence[Part], rule: str, *, shas: Sequence[str]
) -> Attribution:
    """The answer to images (B, 3, S, S) by `compose(space, parts, rule, shas=shas)`, taken apart.

    The images go through the backbone once for all components.

    Raises:
        TangentError: as `compose`.
    """
    weights = lambdas([weight for _, weight in parts], rule)
    for component, _ in parts:
        space.check(component)
    counted = [i for i, weight in enumerate(weights) if weight != 0]
    labels = _labels(parts, counted)
    if rule == "joint":
        order = sorted(counted, key=lambda i: (shas[i], weights[i]))  # of the sums, as `compose`
        base, found, others = _joint(
            space, images, [(parts[i][0], weights[i]) for i in order], labels
        )
        counted = order
    else:
        base, found = units(space, images, [parts[i][0] for i in counted], labels)
        scale = divisor(rule, len(parts))
        found = [weights[i] / scale * one for i, one in zip(counted, found, strict=True)]
        again = scale / divisor(rule, max(1, len(parts) - 1))  # `average` divides by one less
        others = [
            _rest(base, found, again, labels, _labels(parts, counted[:at] + counted[at + 1 :]), at)
            for at in range(len(counted))
        ]
    zero = torch.zeros_like(base)
    whole = Answer(labels, base + torch.stack(found).sum(0))
    shares = dict(zip(counted, found, strict=True))
    rests = dict(zip(counted, others, strict=True))
    every = range(len(parts))
    return Attribution(
        Answer(labels, base),
        [shares.get(i, zero) for i in every],
        [rests.get(i, whole) for i in every],
    )


def effects(space: Space, images: Tensor, deltas: Sequence[Delta]) -> list[tuple[Tensor, Tensor]]:
    """f_w and J·delta (B, K) float64 of each delta, never added: no digit of one hides the other.

    The images go through the backbone once for as many deltas as MOST_PARAMETERS holds.
    """
    size = sum(value.numel() for value in deltas[0].backbone.values())
    most = max(1, MOST_PARAMETERS // max(1, size))
    groups = [deltas[start : start + most] for start in range(0, len(deltas), most)]
    return [found for group in groups for found in _effects(space, images, group)]


@torch.inference_mode()
def _effects(space: Space, images: Tensor, deltas: Sequence[Delta]) -> list[tuple[Tensor, Tensor]]:
    engine, device = space.engine, space.device
    bases = [space.base_rows(delta.labels).to(device) for delta in deltas]
    heads = [delta.head.to(device) for delta in deltas]
    directions = [
        {name: value.to(device, space.dtype) for name, value in delta.backbone.items()}
        for delta in deltas
    ]
    prepared = [engine.prepare(direction) for direction in directions] if engine else []
    chunks = []
    for chunk in images.split(CHUNK):
        pushed: list[Tensor] = []
        if engine is None:
            psi = space.readout(chunk).double()
        else:
            phi, pushed = engine.push(engine.rows(chunk.to(device, space.dtype)), prepared)
            psi = with_constant(phi.double())
        moved = [psi @ head.T for head in heads]
        for at, along in enumerate(pushed):
            moved[at] = moved[at] + along.double() @ bases[at][:, : space.width].T
        chunks.append([(psi @ base.T, one) for base, one in zip(bases, moved, strict=True)])
    return [
        (torch.cat([base for base, _ in each]).cpu(), torch.cat([one for _, one in each]).cpu())
        for each in zip(*chunks, strict=True)
    ]


def _labels(parts: Sequence[Part], chosen: Sequence[int]) -> tuple[str, ...]:
    return tuple(sorted({name for i in chosen for name in parts[i][0].labels}))


def units(
    space: Space, images: Tensor, components: Sequence[Component], labels: tuple[str, ...]
) -> tuple[Tensor, list[Tensor]]:
    """f_w and every J·delta_t (B, K), on these labels: a head that lacks one has zero there."""
    deltas = []
    for component in components:
        place = {name: row for row, name in enumerate(component.head_labels)}
        head = torch.zeros(len(labels), space.readout_width, dtype=torch.float64)
        for row, name in enumerate(labels):
            if name in place:
                head[row] = component.head[place[name]]
        deltas.append(Delta(labels, head, component.backbone))
    found = effects(space, images, deltas)
    return found[0][0], [moved for _, moved in found]


def _rest(
    base: Tensor,
    shares: Sequence[Tensor],
    scale: float,
    labels: tuple[str, ...],
    kept: tuple[str, ...],
    without: int,
) -> Answer | None:
    """The others' shares summed anew, on the labels that they know."""
    others = [share for at, share in enumerate(shares) if at != without]
    if not others:
        return None
    columns = torch.tensor([labels.index(name) for name in kept], dtype=torch.long)
    return Answer(kept, (base + scale * torch.stack(others).sum(0))[:, columns])


def _joint(
    space: Space, images: Tensor, parts: Sequence[Weighted], labels: tuple[str, ...]
) -> tuple[Tensor, list[Tensor], list[Answer | None]]:
    """f_w, the shares' effects, and the answers of the rests, each solved anew."""
    own = [Delta(labels, head, {}) for head in joint_shares(space, parts, labels)]
    rests = list(_rests(space, parts, labels)) if len(parts) > 1 else []
    found = effects(space, images, [*own, *rests])
    answers: list[Answer | None] = [
        Answer(delta.labels, base + moved)
        for delta, (base, moved) in zip(rests, found[len(own) :], strict=True)
    ]
    shown = [moved for _, moved in found[: len(own)]]
    return found[0][0], shown, answers or [None]


def joint_shares(space: Space, parts: Sequence[Weighted], labels: tuple[str, ...]) -> list[Tensor]:
    """Every part's share of the joint head (K, D); they sum to it."""
    gram, _, ridge = pooled(space, parts, labels)
    lower, base = factor(gram, ridge), space.base_rows(labels)
    shares = []
    for component, weight in parts:
        statistics = component.statistics
        assert statistics is not None  # `pooled` has refused the other scopes
        right = -weight * (base @ statistics.gram)
        for row, name in enumerate(statistics.labels):
            beta = float(component.hyperparameters["beta"])
            right[labels.index(name)] += weight * beta * statistics.sums[row]
        shares.append(torch.cholesky_solve(right.T, lower).T)
    return shares


@dataclass(frozen=True)
class _Pool:
    """The pooled problem of some parts, on the labels of all."""

    gram: Tensor
    targets: Tensor
    ridge: float

    def __add__(self, other: "_Pool") -> "_Pool":
        return _Pool(self.gram + other.gram, self.targets + other.targets, self.ridge + other.ridge)


def _rests(space: Space, parts: Sequence[Weighted], labels: tuple[str, ...]) -> Iterator[Delta]:
    """The joint delta of all parts but one, for each of them."""
    for at, pool in enumerate(_pools(space, parts, labels, None)):
        others = [component for i, (component, _) in enumerate(parts) if i != at]
        kept = tuple(sorted({name for component in others for name in component.labels}))
        rows = torch.tensor([labels.index(name) for name in kept], dtype=torch.long)
        # The ridge grows with the number of labels that are trained against, see `pooled`.
        fewer = len({*kept, *space.declared}) / len({*labels, *space.declared})
        base = space.base_rows(kept)
        yield Delta(kept, solve(pool.gram, pool.targets[rows], base, pool.ridge * fewer), {})


def _pools(
    space: Space, parts: Sequence[Weighted], labels: tuple[str, ...], outside: _Pool | None
) -> Iterator[_Pool]:
    """What is outside of all but one part, for each: T log T sums, and nothing is subtracted."""
    if len(parts) == 1:
        assert outside is not None
        yield outside
        return
    halves = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    for inside, beside in (halves, halves[::-1]):
        gram, own, ridge = pooled(space, beside, labels)
        names = sorted({name for component, _ in beside for name in component.labels})
        targets = own.new_zeros(len(labels), own.shape[1])
        targets[[labels.index(name) for name in names]] = own
        pool = _Pool(gram, targets, ridge)
        yield from _pools(space, inside, labels, pool + outside if outside else pool)
