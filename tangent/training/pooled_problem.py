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
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from tangent.components.delta import TangentDict
from tangent.solvers.ridge import factor, substituted
from tangent.training.activation_cache import numbers
from tangent.training.kronecker_curvature import Curvature, added, scaled
from tangent.training.preconditioner import SAMPLE, sampled
from tangent.training.problem import ROWS, TrainingProblem

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
    """The pooled problem; features and logits of all rows lie in its room or in `scratch`."""

    def __init__(self, clients: Sequence[Client], scratch: Path) -> None:
        self.clients, self._scratch = list(clients), scratch
        first = self.clients[0].problem
        self.space, self.labels, self.base = first.space, first.labels, first.base
        assert self.space.engine is not None
        self.engine = self.space.engine
        self.count = sum(len(client.problem.rows) for client in self.clients)
        few = self.count <= ROWS and all(p.problem.recorder for p in self.clients)
        self.recorder = first.recorder if few else None  # of products
        weighted = sum(p.weight * p.l2 * len(p.problem.rows) for p in self.clients)
        self.ridge = 0.5 * len(self.labels) * weighted
        self.psi = self._stored(scratch / "features", self.space.readout_width)
        self._moved = self._stored(scratch / "moved", len(self.labels))
        width, on = self.psi.shape[1], self.space.device
        gram = torch.zeros(width, width, dtype=torch.float64, device=on)
        for chunk in self.chunks():
            self.psi[chunk.place] = chunk.client.problem.readout(chunk.rows)
            psi = self._read(chunk)
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
        """r = beta Y - f (b, K) float64 of the chunk's rows."""
        residuals = -(self._read(chunk) @ self.base.T)
        every = torch.arange(len(residuals), device=residuals.device)
        residuals[every, chunk.targets] += chunk.client.beta
        return residuals

    def correlations(self, logits: Callable[[Chunk], Tensor]) -> Tensor:
        """Psiᵀ Lambda z (D, K) of logits z, which are computed chunk by chunk."""
        shape, on = (self.psi.shape[1], len(self.labels)), self.space.device
        total = torch.zeros(shape, dtype=torch.float64, device=on)
        for chunk in self.chunks():
            total += chunk.client.weight * (self._read(chunk).T @ logits(chunk))
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
            logits = along @ rows_on_phi.to(along).T
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
            z = logits(chunk) if logits else self._pushed(chunk)
            left = chunk.client.weight * (z - self._read(chunk) @ correction.T)
            cotangent = left.to(self.space.dtype) @ rows_on_phi.to(self.space.dtype)
            _, gradient = self.engine.pull(chunk.rows, cotangent)
            total = {name: total[name] + value for name, value in gradient.items()}
        return total

    def left(self, correlations: Tensor, direction: TangentDict) -> tuple[TangentDict, Tensor]:
        """J_Bᵀ Lambda P (r - y) - c·direction, and the direction's best head (K, D).

        correlations: of the residuals r.
        """
        remaining = correlations - self.push(direction)

        def unexplained(chunk: Chunk) -> Tensor:
            return self.residuals(chunk) - self._pushed(chunk)

        pulled = self.pull_back(remaining, unexplained)
        left = {name: value - self.ridge * direction[name] for name, value in pulled.items()}
        return left, self.head(remaining)

    def jittered(self) -> "PooledProblem":
        """The problem of the same rows, every number moved by a rounding error."""
        moved = [replace(each, problem=each.problem.jittered()) for each in self.clients]
        folder = self._scratch / "jittered"
        folder.mkdir(exist_ok=True)
        return PooledProblem(moved, folder)

    def curvature(self) -> Curvature:
        """The weighted curvature of a sample of every client's rows, scaled to all rows."""
        parts = []
        for client in self.clients:
            count = len(client.problem.rows)
            share = sampled(client.problem, max(1, round(SAMPLE * count / self.count)))
            parts.append(scaled(share, client.weight))
        return added(parts)

    def _read(self, chunk: Chunk) -> Tensor:
        """The chunk's features (b, D) float64 on the space's device."""
        return self.psi[chunk.place].to(self.space.device).double()

    def _pushed(self, chunk: Chunk) -> Tensor:
        """The last push's logits (b, K) float64 of the chunk, on the space's device."""
        return self._moved[chunk.place].to(self.space.device).double()

    def _stored(self, path: Path, width: int) -> Tensor:
        """Memory for numbers of all rows, in the training's room if they fit."""
        room = self.clients[0].problem.room
        return numbers((self.count, width), self.space.dtype, path, room)
