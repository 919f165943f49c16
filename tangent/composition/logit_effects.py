"""Effects of directions on the logits of images: f_w and J·delta of each, never added."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tangent.components.delta import Delta
from tangent.spaces.space import Space

Turn = AbstractContextManager[Any]
ALONE = nullcontext()  # where no other thread runs the space
MAX_PARAMETERS = 2**28  # of all directions on the device at a time


@dataclass(frozen=True)
class Answer:
    """Logits (B, K) float64 with the labels of their columns, sorted."""

    labels: tuple[str, ...]
    logits: Tensor


def logits_by_delta(
    space: Space, images: Tensor, deltas: Sequence[Delta], turn: Turn = ALONE
) -> list[tuple[Tensor, Tensor]]:
    """Return f_w and J·delta (B, K) float64 of each delta, unadded: neither hides a digit.

    The images go through the backbone once for as many deltas as MAX_PARAMETERS holds, while the
    caller's `turn` is held: one thread at a time may run a space.
    """
    size = sum(value.numel() for value in deltas[0].backbone.values())
    most = max(1, MAX_PARAMETERS // max(1, size))
    groups = [deltas[start : start + most] for start in range(0, len(deltas), most)]
    with turn:
        return [found for group in groups for found in _logits_by_delta(space, images, group)]


@torch.inference_mode()
def _logits_by_delta(
    space: Space, images: Tensor, deltas: Sequence[Delta]
) -> list[tuple[Tensor, Tensor]]:
    engine, device = space.answerer, space.device
    bases = [space.base_rows(delta.labels).to(device) for delta in deltas]
    heads = [delta.head.to(device) for delta in deltas]
    moving = [at for at, delta in enumerate(deltas) if delta.backbone]  # the others are heads alone
    directions = (
        {name: value.to(device, space.dtype) for name, value in deltas[at].backbone.items()}
        for at in moving
    )
    prepared = [engine.prepare(direction) for direction in directions] if engine else []
    chunks = []
    for chunk in images.split(space.chunk):
        psi, pushed = space.push(space.rows(chunk), prepared)
        moved = [psi @ head.T for head in heads]
        for at, along in zip(moving, pushed, strict=True):
            moved[at] = moved[at] + along.double() @ bases[at][:, : space.width].T
        chunks.append([(psi @ base.T, one) for base, one in zip(bases, moved, strict=True)])
    return [
        (torch.cat([base for base, _ in each]).cpu(), torch.cat([one for _, one in each]).cpu())
        for each in zip(*chunks, strict=True)
    ]
