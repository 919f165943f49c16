"""The images of many clients as one training problem; an image counts with its client's weight.

With Psi the features that the head reads, y = J_B delta_B the change of the logits by a direction
of the backbone, Lambda the images' weights and r = beta Y - f their residuals, training on the
pooled data (eq. 4, penalty mu/2 |delta|², ridge c = mu n K / 2) is

    minimise  |Lambda^(1/2) (Psi delta_H + y - r)|² + c |delta_H|² + c |delta_B|².

For a given backbone the best head is (G + cI)⁻¹ Psiᵀ Lambda (r - y) with G = Psiᵀ Lambda Psi: it is
eliminated, exactly, and a problem in delta_B alone is left,

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
from tangent.training.problem import TrainingProblem
from tangent.training.scratch_files import mapped_file

HEAD = "head"


@dataclass(frozen=True)
class Client:
    """A client's problem on the labels of all clients, and the weight of its images."""

    problem: TrainingProblem
    weight: float  # lambda over the number of views
    beta: float
    l2: float


@dataclass(frozen=True)
class Chunk:
    """Some rows of one client, and their place among all rows."""

    client: Client
    rows: Tensor
    targets: Tensor
    place: slice


class PooledProblem:
    """The pooled problem; the features and logits of all rows are stored in the scratch folder."""

    def __init__(self, clients: Sequence[Client], scratch: Path) -> None:
        self.clients = list(clients)
        first = self.clients[0].problem
        self.space, self.labels, self.base = first.space, first.labels, first.base
        assert self.space.engine is not None
        self.engine = self.space.engine
        self.count = sum(len(client.problem.rows) for client in self.clients)
        weighted = sum(p.weight * p.l2 * len(p.problem.rows) for p in self.clients)
        self.ridge = 0.5 * len(self.labels) * weighted
        self.psi = self._stored(scratch / "features", self.space.readout_width)
        self._moved = self._stored(scratch / "moved", len(self.labels))
        gram = torch.zeros(self.psi.shape[1], self.psi.shape[1], dtype=torch.float64)
        for chunk in self.chunks():
            self.psi[chunk.place] = chunk.client.problem.readout(chunk.rows).cpu()
            psi = self.psi[chunk.place].double()
            gram += chunk.client.weight * (psi.T @ psi)
        self.factor = factor(gram, self.ridge)

    def zero(self) -> TangentDict:
        """delta_B = 0."""
        return {k: v for k, v in self.clients[0].problem.zero().items() if k != HEAD}

    def chunks(self) -> Iterator[Chunk]:
        """Yield all rows in order."""
        start = 0
        for client in self.clients:
            for rows, targets in client.problem.chunks():
                yield Chunk(client, rows, targets, slice(start, start + len(rows)))
                start += len(rows)

    def residuals(self, chunk: Chunk) -> Tensor:
        """r = beta Y - f (b, K) float64 of the chunk's rows, on the CPU."""
        residuals = -(self.psi[chunk.place].double() @ self.base.cpu().T)
        residuals[torch.arange(len(residuals)), chunk.targets.cpu()] += chunk.client.beta
        return residuals

    def correlations(self, logits: Callable[[Chunk], Tensor]) -> Tensor:
        """Psiᵀ Lambda z (D, K) of logits z, which are computed chunk by chunk."""
        total = torch.zeros(self.psi.shape[1], len(self.labels), dtype=torch.float64)
        for chunk in self.chunks():
            psi = self.psi[chunk.place].double()
            total += chunk.client.weight * (psi.T @ logits(chunk))
        return total

    def head(self, correlations: Tensor) -> Tensor:
        """(G + cI)⁻¹ Psiᵀ Lambda z as rows (K, D), from the correlations Psiᵀ Lambda z."""
        return substituted(self.factor, correlations).T

    def push(self, direction: TangentDict) -> Tensor:
        """Return Psiᵀ Lambda y of y = J_B·direction; y is stored for `pull_back`."""
        prepared = self.engine.prepare(direction)
        rows_on_phi = self.base[:, : self.space.width]

        def moved(chunk: Chunk) -> Tensor:
            _, (along,) = self.engine.push(chunk.rows, [prepared])
            logits = (along @ rows_on_phi.to(along).T).cpu()
            self._moved[chunk.place] = logits
            return logits.double()

        return self.correlations(moved)

    def pull_back(
        self, correlations: Tensor, logits: Callable[[Chunk], Tensor] | None = None
    ) -> TangentDict:
        """J_Bᵀ Lambda P z of logits z, by default the last `push`'s y, and Psiᵀ Lambda z."""
        correction, total = self.head(correlations), self.zero()
        rows_on_phi = self.base[:, : self.space.width]
        for chunk in self.chunks():
            z = logits(chunk) if logits else self._moved[chunk.place].double()
            left = chunk.client.weight * (z - self.psi[chunk.place].double() @ correction.T)
            cotangent = left.to(chunk.rows.device, self.space.dtype) @ rows_on_phi.to(
                self.space.dtype
            )
            _, gradient = self.engine.pull(chunk.rows, cotangent)
            total = {name: total[name] + value for name, value in gradient.items()}
        return total

    def curvature(self) -> Curvature:
        """The weighted curvature of a sample of every client's rows, scaled to all rows."""
        parts = []
        for client in self.clients:
            count = len(client.problem.rows)
            share = sampled(client.problem, max(1, round(SAMPLE * count / self.count)))
            parts.append(scaled(share, client.weight))
        return added(parts)

    def _stored(self, path: Path, width: int) -> Tensor:
        flat = mapped_file(path, self.count * width, self.space.dtype)
        return flat.view(self.count, width)


class Optimum(NamedTuple):
    """The head's rows (K, D) float64, the backbone's directions, and the steps taken."""

    head: Tensor
    backbone: TangentDict
    steps: int
    left: float  # the gradient's norm, relative to that of the head's gradient at zero


def solve(
    pooled: PooledProblem,
    *,
    max_steps: int,
    tolerance: float,
    report: Callable[[int, int, float | None], None],
) -> Optimum:
    """Solve by conjugate gradients from delta_B = 0, preconditioned by the layers' curvature.

    A step is one push and one pull over all rows. Ends after `max_steps`, or when the gradient is
    below `tolerance` times that at zero.
    """
    correlations, ridge = pooled.correlations(pooled.residuals), pooled.ridge
    spectra = backbone_spectra(pooled.zero(), pooled.curvature(), ridge)
    backbone, steps, left = conjugate_gradients.solve(
        pooled.pull_back(correlations, pooled.residuals),
        lambda v: conjugate_gradients.plus(pooled.pull_back(pooled.push(v)), ridge, v),
        lambda v: {name: spectra[name].times(-1.0, value) for name, value in v.items()},
        max_steps=max_steps,
        tolerance=tolerance,
        scale=correlations.norm().item() or 1.0,
        report=report,
    )
    return Optimum(pooled.head(correlations - pooled.push(backbone)), backbone, steps, left)
