"""Many parties' images as one training problem, each counted as often as its party's weight says.

With Psi the features that the head reads, y = J_B delta_B what a direction of the backbone adds to
the logits, Lambda the images' weights and r = beta Y - f what is asked of them, training on the
pooled data (eq. 4, penalty mu/2 |delta|², ridge c = mu n K / 2) is

    minimise  |Lambda^(1/2) (Psi delta_H + y - r)|² + c |delta_H|² + c |delta_B|².

For a given backbone the best head is (G + cI)⁻¹ Psiᵀ Lambda (r - y) with G = Psiᵀ Lambda Psi: it is
eliminated, exactly, and what is left is a problem in delta_B alone,

    (J_Bᵀ Lambda P J_B + cI) delta_B = J_Bᵀ Lambda P r,    P z = z - Psi (G + cI)⁻¹ Psiᵀ Lambda z.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tangent.components.delta import TangentDict
from tangent.solvers import conjugate_gradients
from tangent.solvers.ridge import factor, substituted
from tangent.training.kronecker_curvature import Curvature, added, scaled
from tangent.training.preconditioner import SAMPLE, backbone_spectra, sampled
from tangent.training.problem import Problem

HEAD = "head"


@dataclass(frozen=True)
class Party:
    """A party's problem, on the labels of all, and how its images count."""

    problem: Problem
    weight: float  # lambda over the number of views
    beta: float
    l2: float


@dataclass(frozen=True)
class Chunk:
    """Some rows of one party, and where they stand among all."""

    party: Party
    rows: Tensor
    targets: Tensor
    place: slice


class Pool:
    """The pooled problem; features and logits of all rows lie in the scratch folder."""

    def __init__(self, parties: Sequence[Party], scratch: Path) -> None:
        self.parties = list(parties)
        first = self.parties[0].problem
        self.space, self.labels, self.base = first.space, first.labels, first.base
        assert self.space.engine is not None
        self.engine = self.space.engine
        self.count = sum(len(party.problem.rows) for party in self.parties)
        weighted = sum(p.weight * p.l2 * len(p.problem.rows) for p in self.parties)
        self.ridge = 0.5 * len(self.labels) * weighted
        self.psi = self._stored(scratch / "features", self.space.readout_width)
        self._moved = self._stored(scratch / "moved", len(self.labels))
        gram = torch.zeros(self.psi.shape[1], self.psi.shape[1], dtype=torch.float64)
        for chunk in self.chunks():
            self.psi[chunk.place] = chunk.party.problem.readout(chunk.rows).cpu()
            psi = self.psi[chunk.place].double()
            gram += chunk.party.weight * (psi.T @ psi)
        self.factor = factor(gram, self.ridge)

    def zero(self) -> TangentDict:
        """delta_B = 0."""
        return {k: v for k, v in self.parties[0].problem.zero().items() if k != HEAD}

    def chunks(self) -> Iterator[Chunk]:
        """All rows in order."""
        start = 0
        for party in self.parties:
            for rows, targets in party.problem.chunks():
                yield Chunk(party, rows, targets, slice(start, start + len(rows)))
                start += len(rows)

    def asked(self, chunk: Chunk) -> Tensor:
        """r = beta Y - f (b, K) float64 of the chunk's rows, on the CPU."""
        asked = -(self.psi[chunk.place].double() @ self.base.cpu().T)
        asked[torch.arange(len(asked)), chunk.targets.cpu()] += chunk.party.beta
        return asked

    def seen_by_head(self, logits: Callable[[Chunk], Tensor]) -> Tensor:
        """Psiᵀ Lambda z (D, K) of logits z, given chunk by chunk."""
        total = torch.zeros(self.psi.shape[1], len(self.labels), dtype=torch.float64)
        for chunk in self.chunks():
            psi = self.psi[chunk.place].double()
            total += chunk.party.weight * (psi.T @ logits(chunk))
        return total

    def head(self, seen: Tensor) -> Tensor:
        """(G + cI)⁻¹ of what the head sees, as rows (K, D)."""
        return substituted(self.factor, seen).T

    def push(self, direction: TangentDict) -> Tensor:
        """Psiᵀ Lambda y of y = J_B·direction; y itself is kept for `pull_back`."""
        prepared = self.engine.prepare(direction)
        rows_on_phi = self.base[:, : self.space.width]

        def moved(chunk: Chunk) -> Tensor:
            _, (along,) = self.engine.push(chunk.rows, [prepared])
            logits = (along @ rows_on_phi.to(along).T).cpu()
            self._moved[chunk.place] = logits
            return logits.double()

        return self.seen_by_head(moved)

    def pull_back(
        self, seen: Tensor, logits: Callable[[Chunk], Tensor] | None = None
    ) -> TangentDict:
        """J_Bᵀ Lambda P z of logits z of which the head sees `seen`; of the last `push`'s y."""
        correction, total = self.head(seen), self.zero()
        rows_on_phi = self.base[:, : self.space.width]
        for chunk in self.chunks():
            z = logits(chunk) if logits else self._moved[chunk.place].double()
            left = chunk.party.weight * (z - self.psi[chunk.place].double() @ correction.T)
            cotangent = left.to(chunk.rows.device, self.space.dtype) @ rows_on_phi.to(
                self.space.dtype
            )
            _, found = self.engine.pull(chunk.rows, cotangent)
            total = {name: total[name] + value for name, value in found.items()}
        return total

    def curvature(self) -> Curvature:
        """Of some rows of every party, as many as it has a share of, weighted and scaled to all."""
        parts = []
        for party in self.parties:
            count = len(party.problem.rows)
            share = sampled(party.problem, max(1, round(SAMPLE * count / self.count)))
            parts.append(scaled(share, party.weight))
        return added(parts)

    def _stored(self, path: Path, width: int) -> Tensor:
        flat = torch.from_file(
            str(path), shared=True, size=self.count * width, dtype=self.space.dtype
        )
        return flat.view(self.count, width)


class Optimum(NamedTuple):
    """The head's rows (K, D) float64 and the backbone's directions, and how they were found."""

    head: Tensor
    backbone: TangentDict
    steps: int
    left: float  # of the gradient, by the gradient of the head at zero


def solve(
    pool: Pool,
    *,
    most: int,
    tolerance: float,
    report: Callable[[int, int, float | None], None],
) -> Optimum:
    """Conjugate gradients from delta_B = 0, preconditioned by the layers' curvature.

    A step is one push and one pull over all rows. Ends after `most` steps, or when the gradient is
    below `tolerance` times that at zero.
    """
    asked, ridge = pool.seen_by_head(pool.asked), pool.ridge
    spectra = backbone_spectra(pool.zero(), pool.curvature(), ridge)
    backbone, steps, left = conjugate_gradients.solve(
        pool.pull_back(asked, pool.asked),
        lambda vector: conjugate_gradients.plus(pool.pull_back(pool.push(vector)), ridge, vector),
        lambda vector: {name: spectra[name].times(-1.0, v) for name, v in vector.items()},
        most=most,
        tolerance=tolerance,
        scale=asked.norm().item() or 1.0,
        report=report,
    )
    return Optimum(pool.head(asked - pool.push(backbone)), backbone, steps, left)
