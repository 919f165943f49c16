"""The rules engine: the model's own code runs, and a jvp rule for each operation moves tangents.

It differs from a plain pass in two ways, both exact: a batch norm is folded into the convolution
before it, and the last block of a ViT computes only the class token if nothing else is read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import sqrt

import torch
from torch import Tensor

import tangent.jvp.rules  # noqa: F401 (registers the rules)
from tangent.backbones.suffix import Suffix
from tangent.jvp.apart import Apart
from tangent.jvp.batch_norm_folding import Fold, foldable_pairs
from tangent.jvp.class_token_attention import class_token_only
from tangent.jvp.dual import Duals, NoRule, Seed
from tangent.jvp.engine import Tangent, random_direction
from tangent.jvp.groups import groups_of, push_by_groups

Seeds = list[tuple[Tensor, Tensor]]  # tensors of the base, with their directions


class Rules:
    """The rules engine: one pass moves any number of directions, with one primal computation."""

    name = "rules"

    def __init__(self, suffix: Suffix, reason: str = "every operation has a rule") -> None:
        self.suffix, self.reason = suffix, reason
        self._folds: list[Fold] = []
        self._is_one_pass: bool | None = None  # may `push_own` be one pass? None: not yet asked
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
        """Return the directions of the parameters; a folded pair counts as one convolution."""
        parameters = self.suffix.parameters.items()
        seeds = [(p, direction[name].to(p)) for name, p in parameters if name not in self._folded]
        return seeds + [
            pair for fold in self._folds if fold.names for pair in fold.seeds(direction)
        ]

    def push(self, rows: Tensor, prepared: Sequence[Seeds]) -> tuple[Tensor, list[Tensor]]:
        seeds: list[Seed] = [
            (pairs[0][0], [along for _, along in pairs]) for pairs in zip(*prepared, strict=True)
        ]
        with torch.no_grad(), self._running(seeds) as duals, class_token_only(self.suffix.model):
            phi = self.suffix.run(rows)
        return phi, duals.of(phi) or [torch.zeros_like(phi) for _ in prepared]

    def push_own(
        self, rows: Tensor, prepared: Sequence[Seeds], own: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return as `Answerer.push_own`: in one pass, or where that is not proven in one for each.

        Proven is a model's pass by other directions, on its test images.
        """
        if self._is_one_pass is None:
            self._is_one_pass = self._proven()
        if not self._is_one_pass:
            return push_by_groups(self, rows, prepared, own)
        return self._push_own(rows, prepared, own)

    def _push_own(
        self, rows: Tensor, prepared: Sequence[Seeds], own: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        groups = groups_of(own, rows.device)
        used = [prepared[which] for which in groups.which]
        seeds = [
            (pairs[0][0], Apart([along for _, along in pairs], groups.sizes))
            for pairs in zip(*used, strict=True)
        ]
        with torch.no_grad(), self._running(seeds) as duals, class_token_only(self.suffix.model):
            phi = self.suffix.run(rows[groups.order])
        (along,) = duals.of(phi) or [torch.zeros_like(phi)]
        return groups.back(phi), groups.back(along)

    def _proven(self) -> bool:
        """Return whether one pass of test images along their own directions gives those of each."""
        generator = torch.Generator().manual_seed(0)
        some = [self.prepare(random_direction(self.suffix.base, generator)) for _ in range(2)]
        rows, own = self.rows(self.suffix.probe), (1, 0, 1)
        try:
            found = self._push_own(rows, some, own)
        except torch.OutOfMemoryError:
            raise  # says nothing about the model
        except (NoRule, RuntimeError, TypeError):
            return False
        rounding = sqrt(torch.finfo(rows.dtype).eps)  # a share ε of kinks is passed otherwise
        pairs = zip(found, push_by_groups(self, rows, some, own), strict=True)
        return all(bool((one - each).norm() <= rounding * each.norm()) for one, each in pairs)

    def pull(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        return self.suffix.vjp(rows, cotangent)

    @contextmanager
    def _running(self, seeds: Sequence[Seed]) -> Iterator[Duals]:
        duals = Duals(seeds, self._folds)
        with duals if seeds or self._folds else nullcontext():
            yield duals
