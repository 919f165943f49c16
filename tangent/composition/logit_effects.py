"""Effects of directions on the logits of images: f_w and J·delta of each, never added."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tangent.components.delta import Delta
from tangent.jvp.engine import Prepared
from tangent.spaces.space import Space

Turn = AbstractContextManager[Any]
ALONE = nullcontext()  # where no other thread runs the space
MAX_PARAMETERS = 2**28  # of all directions on the device at a time
CHUNKS = 3  # a turn takes no more passes of an image than so many chunks of answers do


@dataclass(frozen=True)
class Answer:
    """Logits (B, K) float64 with the labels of their columns, sorted."""

    labels: tuple[str, ...]
    logits: Tensor


def logits_by_delta(
    space: Space, images: Tensor, deltas: Sequence[Delta], turn: Turn = ALONE
) -> list[tuple[Tensor, Tensor]]:
    """Return f_w and J·delta (B, K) float64 of each delta, unadded: neither hides a digit.

    The images go through the backbone once for as many deltas as MAX_PARAMETERS holds. The caller's
    `turn` is held meanwhile, as one thread at a time may run a space, and given up after every few
    images, as others have to wait for it.
    """
    size = sum(value.numel() for value in deltas[0].backbone.values())
    most = max(1, MAX_PARAMETERS // max(1, size))
    groups = [deltas[start : start + most] for start in range(0, len(deltas), most)]
    return [found for group in groups for found in _logits_by_delta(space, images, group, turn)]


@torch.inference_mode()
def _logits_by_delta(
    space: Space, images: Tensor, deltas: Sequence[Delta], turn: Turn
) -> list[tuple[Tensor, Tensor]]:
    device = space.device
    bases = [space.base_rows(delta.labels).to(device) for delta in deltas]
    heads = [delta.head.to(device) for delta in deltas]
    moving = [at for at, delta in enumerate(deltas) if delta.backbone]  # the others are heads alone
    with turn:
        prepared = _prepared(space, [deltas[at] for at in moving])
    chunks = []
    for some in images.split(_images_of_a_turn(space, len(prepared))):
        with turn:
            psi, pushed = space.push(space.rows(some), prepared)
        moved = [psi @ head.T for head in heads]
        for at, along in zip(moving, pushed, strict=True):
            moved[at] = moved[at] + along.double() @ bases[at][:, : space.width].T
        chunks.append([(psi @ base.T, one) for base, one in zip(bases, moved, strict=True)])
    return [
        (torch.cat([base for base, _ in each]).cpu(), torch.cat([one for _, one in each]).cpu())
        for each in zip(*chunks, strict=True)
    ]


def _prepared(space: Space, deltas: Sequence[Delta]) -> list[Prepared]:
    engine = space.answerer
    if engine is None:
        return []
    directions = (
        {name: value.to(space.device, space.dtype) for name, value in delta.backbone.items()}
        for delta in deltas
    )
    return [engine.prepare(direction) for direction in directions]


def _images_of_a_turn(space: Space, directions: int) -> int:
    """Return how many images one turn takes: each takes a pass, and one along every direction."""
    return max(1, min(space.chunk, CHUNKS * space.chunk // (1 + directions)))
