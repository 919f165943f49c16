"""The engine of dual rules: the model's own code, each operation carrying tangents along.

It differs from a plain pass in two ways, both exact: a convolution takes up the batch norm behind
it, and the last block of a model that reads its first token only computes only that.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

import tangent.jvp.rules  # noqa: F401 (registers the rules)
from tangent.backbones.suffix import Suffix
from tangent.jvp.batch_norm_folding import Fold, foldable_pairs
from tangent.jvp.class_token_attention import class_token_only
from tangent.jvp.dual import Duals, Tangents
from tangent.jvp.engine import Tangent

Seeds = list[tuple[Tensor, Tensor]]  # a tensor of the base and its direction


class Rules:
    """One pass carries any number of directions; the primal part is computed once for all."""

    name = "rules"

    def __init__(self, suffix: Suffix, reason: str = "every operation has a rule") -> None:
        self.suffix, self.reason = suffix, reason
        self._folds: list[Fold] = []
        with torch.no_grad():
            self._folds = foldable_pairs(suffix)
        self._folded = {weight for fold in self._folds for weight in fold.names}

    @classmethod
    def of(cls, suffix: Suffix) -> "Rules":
        return cls(suffix)

    def rows(self, images: Tensor) -> Tensor:
        with torch.no_grad(), self._running([]):
            return self.suffix.activation(images)

    def activation(self, rows: Tensor) -> Tensor:
        return rows

    def prepare(self, direction: Tangent) -> Seeds:
        """Directions of the parameters, those of a folded pair as of one convolution."""
        parameters = self.suffix.parameters
        seeds = [(p, direction[name]) for name, p in parameters.items() if name not in self._folded]
        return seeds + [
            pair for fold in self._folds if fold.names for pair in fold.seeds(direction)
        ]

    def push(self, rows: Tensor, prepared: Sequence[Seeds]) -> tuple[Tensor, list[Tensor]]:
        seeds = [
            (pairs[0][0], [along for _, along in pairs]) for pairs in zip(*prepared, strict=True)
        ]
        with torch.no_grad(), self._running(seeds) as duals, class_token_only(self.suffix.model):
            phi = self.suffix.run(rows)
        return phi, duals.of(phi) or [torch.zeros_like(phi) for _ in prepared]

    def pull(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        return self.suffix.vjp(rows, cotangent)

    @contextmanager
    def _running(self, seeds: Sequence[tuple[Tensor, Tangents]]) -> Iterator[Duals]:
        duals = Duals(seeds, self._folds)
        with duals if seeds or self._folds else nullcontext():
            yield duals
