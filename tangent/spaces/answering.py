"""The way of an answer: images go through the backbone once, then every delta gives its logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from tangent.backbones.features import with_constant
from tangent.components.delta import Delta
from tangent.jvp import Answerer, Prepared

CHUNK = 32  # images in one forward pass of a prediction


@dataclass(frozen=True)
class _Head:
    """A delta made ready: a_l, a_l + delta_l, and the engine's direction of the backbone."""

    base: Tensor
    rows: Tensor
    prepared: Prepared


def read(
    engine: Answerer, rows: Tensor, prepared: Sequence[Prepared]
) -> tuple[Tensor, list[Tensor]]:
    """Return psi (B, D) float64 and J phi·delta (B, width) along every prepared direction."""
    phi, pushed = engine.push(rows, prepared)
    return with_constant(phi.double()), pushed


class Answering:
    """The part of a space that answers; `tangent.spaces.space.Space` is the rest of it."""

    device: torch.device
    dtype: torch.dtype
    width: int  # of phi
    _heads: WeakKeyDictionary[Delta, _Head]

    @property
    def answerer(self) -> Answerer | None:
        """The engine of answers; None at a linear scope."""
        raise NotImplementedError

    def answered_readout(self, images: Tensor) -> Tensor:
        """Return psi (B, D) of images (B, 3, S, S) at a linear scope, as answers read it."""
        raise NotImplementedError

    def base_rows(self, labels: Sequence[str]) -> Tensor:
        """Return a_l of every label (K, D) float64."""
        raise NotImplementedError

    def logits(self, images: Tensor, delta: Delta) -> Tensor:
        """Return h(x) (B, K) float32 of images (B, 3, S, S), columns in the delta's label order.

        h is affine in delta (eq. 2), and computed in passes of CHUNK images.
        """
        return self.logits_of_each(images, [delta])[0]

    def logits_of_each(self, images: Tensor, deltas: Sequence[Delta]) -> list[Tensor]:
        """Return `logits` by every delta; the images go through the backbone once for all."""
        heads = [self._head(delta) for delta in deltas]
        chunks = [self._logits(chunk, heads) for chunk in images.split(CHUNK)]
        return [torch.cat(parts).float().cpu() for parts in zip(*chunks, strict=True)]

    def answers_of_own(
        self, images: Tensor, deltas: Sequence[Delta], own: Sequence[int]
    ) -> list[tuple[Tensor, Tensor]]:
        """Return `logits` (K,) of each image by its own delta, `deltas[own[i]]`, and psi (D,).

        The frozen prefix takes a mixed batch; the other layers run once for each delta.
        """
        heads = [self._head(delta) for delta in deltas]
        answers = [(torch.empty(0), torch.empty(0))] * len(images)
        for start in range(0, len(images), CHUNK):
            rows = self.rows(images[start : start + CHUNK])
            asked = torch.tensor(own[start : start + CHUNK])
            for which in sorted(set(asked.tolist())):
                index = (asked == which).nonzero().flatten()
                some = rows if len(index) == len(rows) else rows[index.to(rows.device)]
                psi, (found,) = self._answers(some, [heads[which]])
                for i, row, read in zip(index.tolist(), found.float().cpu(), psi, strict=True):
                    answers[start + i] = row, read
        return answers

    def _logits(self, images: Tensor, heads: Sequence[_Head]) -> list[Tensor]:
        return self._answers(self.rows(images), heads)[1]

    def rows(self, images: Tensor) -> Tensor:
        """Return the part of an answer that no delta changes: psi, or the engine's rows."""
        images, engine = images.to(self.device, self.dtype), self.answerer
        return self.answered_readout(images) if engine is None else engine.rows(images)

    def push(self, rows: Tensor, prepared: Sequence[Prepared]) -> tuple[Tensor, list[Tensor]]:
        """Return psi (B, D) float64 and J phi·delta (B, width) along every prepared direction.

        At a linear scope, which has no directions, the second is empty.
        """
        engine = self.answerer
        return (rows.double(), []) if engine is None else read(engine, rows, prepared)

    def _answers(self, rows: Tensor, heads: Sequence[_Head]) -> tuple[Tensor, list[Tensor]]:
        psi, pushed = self.push(rows, [head.prepared for head in heads])
        if self.answerer is None:
            return psi, [psi @ head.rows.T for head in heads]
        return psi, [
            psi @ head.rows.T + along.double() @ head.base[:, : self.width].T
            for head, along in zip(heads, pushed, strict=True)
        ]

    def _head(self, delta: Delta) -> _Head:
        """Return the delta on the space's device, made ready; kept as long as the delta lives."""
        if delta not in self._heads:
            self._heads[delta] = self._prepare_head(delta)
        return self._heads[delta]

    def _prepare_head(self, delta: Delta) -> _Head:
        base = self.base_rows(delta.labels).to(self.device)
        directions = {k: v.to(self.device, self.dtype) for k, v in delta.backbone.items()}
        prepared = self.answerer.prepare(directions) if self.answerer else None
        return _Head(base, base + delta.head.to(self.device), prepared)
