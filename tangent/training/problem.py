"""The training problem of one component: cached rows, targets and the linear map J.

delta is a dict of tensors: `head` (K, D) and one direction for each tangent parameter of the
backbone. The model is h = f + J delta; no solver changes the base's logits f.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tangent.backbones.features import with_constant
from tangent.components.delta import TangentDict
from tangent.components.hyperparameters import Hyperparameters
from tangent.jvp.compiled.recorder import recorder_on
from tangent.solvers import losses
from tangent.spaces.space import Space
from tangent.training.room import Room
from tangent.training.row_readers import Index, reader_of

ROWS = 512  # in one pass over the cached activations
ROUNDING = 8  # units of rounding by which a row's numbers may be off, after many layers


@dataclass(frozen=True)
class Solution:
    """A solver's delta, with `final_loss`, `iterations`, `gradient_reduction` and `converged`.

    gradient_reduction is |gradient at delta| / |gradient at zero|.
    """

    delta: dict[str, Tensor]
    stats: dict[str, Any]


class TrainingProblem:
    """Labelled rows (n, …): features psi at a linear scope, the jvp engine's rows otherwise."""

    def __init__(
        self,
        space: Space,
        rows: Tensor,
        row_labels: Sequence[str],
        hyperparameters: Hyperparameters,
        others: Sequence[str] = (),
        groups: Sequence[int] | None = None,
        room: Room | None = None,
    ) -> None:
        """`others`: labels without images here that are trained with zero targets as well.

        `groups`: of each image, which no hold-out parts; None: each is a group by itself.
        `room`: of the training, in which the rows may lie.
        """
        self.space, self.rows, self.hyperparameters = space, rows, hyperparameters
        self.counts = dict(sorted(Counter(row_labels).items()))
        self.labels = tuple(sorted({*self.counts, *space.declared, *others}))
        column = {name: i for i, name in enumerate(self.labels)}
        self.row_labels, self.groups = list(row_labels), groups
        self.targets = torch.tensor([column[name] for name in row_labels])
        self.base = space.base_rows(self.labels).to(space.device)
        self.room = room
        self.are_resident = not rows.is_cpu or (room is not None and room.holds(rows))
        on = space.device
        self._reader = reader_of(rows, self.targets, on, are_resident=self.are_resident)
        self.recorder = recorder_on(on, allowed=self.are_resident and space.fuses)  # of steps

    def zero(self) -> TangentDict:
        """delta = 0: the component that changes nothing."""
        head = torch.zeros(self.base.shape, dtype=self.space.dtype, device=self.space.device)
        directions = self.space.suffix.base if self.space.suffix else {}
        return {"head": head} | {name: torch.zeros_like(p) for name, p in directions.items()}

    def chunks(self, index: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the given or all rows in order, with target columns, on the space's device."""
        parts = self._reader.parts(ROWS) if index is None else self.placed(index).split(ROWS)
        for part in parts:
            yield self.batch(part)

    def placed(self, index: Tensor) -> Tensor:
        """The index where batches of it are read without a wait for the space's device."""
        return self._reader.placed(index)

    def batch(self, index: Index) -> tuple[Tensor, Tensor]:
        """The given rows and their target columns on the space's device."""
        return self._reader.read(index)

    def jittered(self) -> "TrainingProblem":
        """The problem of the same rows, every number moved by a rounding error, up or down."""
        return _Jittered(self)

    def outputs(self, rows: Tensor, delta: TangentDict) -> tuple[Tensor, Tensor]:
        """f and J delta, each (B, K)."""
        base, width = self.base.to(rows.dtype), self.space.width
        engine = self.space.engine
        if engine is None:
            return rows @ base.T, rows @ delta["head"].T
        directions = {k: v for k, v in delta.items() if k != "head"}
        phi, (along,) = engine.push(rows, [engine.prepare(directions)])
        psi = with_constant(phi)
        return psi @ base.T, psi @ delta["head"].T + along @ base[:, :width].T

    def readout(self, rows: Tensor) -> Tensor:
        """The features psi (B, D) that the head reads."""
        engine = self.space.engine
        return rows if engine is None else with_constant(engine.push(rows, [])[0])

    def adjoint(self, rows: Tensor, cotangent: Tensor) -> TangentDict:
        """Jᵀ of a cotangent (B, K), summed over the batch."""
        if self.space.engine is None:
            return {"head": cotangent.T @ rows}
        rows_on_phi = self.base[:, : self.space.width].to(rows.dtype)
        phi, directions = self.space.engine.pull(rows, cotangent @ rows_on_phi)
        return {"head": cotangent.T @ with_constant(phi)} | directions

    def accuracy(self, delta: TangentDict, index: Tensor | None = None) -> float:
        """The share of the given or all rows whose label ranks first among the dataset's labels."""
        own = torch.tensor([self.labels.index(name) for name in self.counts])
        own = own.to(self.space.device)
        hits, count = 0.0, 0
        for rows, targets in self.chunks(index):
            base, change = self.outputs(rows, delta | {"head": delta["head"].to(rows.dtype)})
            position = torch.searchsorted(own, targets)
            hits += losses.argmax_accuracy((base + change)[:, own], position) * len(rows)
            count += len(rows)
        return hits / count


class _Jittered(TrainingProblem):
    """A problem whose rows are off by `ROUNDING` units; the same row is always off by the same."""

    def __init__(self, of: TrainingProblem) -> None:
        self.__dict__.update(of.__dict__)

    def batch(self, index: Index) -> tuple[Tensor, Tensor]:
        rows, targets = super().batch(index)
        first = index.start if isinstance(index, slice) else int(index[0])
        generator = torch.Generator(rows.device).manual_seed(first)
        signs = torch.randint(0, 2, rows.shape, generator=generator, device=rows.device) * 2 - 1
        return rows * (1 + ROUNDING * torch.finfo(rows.dtype).eps * signs.to(rows)), targets
