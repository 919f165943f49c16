"""A preconditioner for conjugate gradients: a cheap inverse of the matrix JᵀJ + cI.

The head's part is exact: every label's row has the same Gram matrix ΨᵀΨ. The backbone's part is the
Kronecker model of its layers, inverted in the eigenvectors of its factors.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tangent.components.delta import TangentDict
from tangent.training.kronecker_curvature import Curvature, added, curvature, scaled
from tangent.training.problem import TrainingProblem

SAMPLE = 512  # rows, spread over all, from which the backbone's curvature is estimated
AT_ONCE = 64  # rows in one back-propagation


@dataclass(frozen=True)
class Spectrum:
    """One parameter's model of JᵀJ + cI, by its eigenvectors along the parameter's axes."""

    shape: tuple[int, ...]  # the parameter's; the positions in a kernel are one axis
    vectors: list[Tensor | None]  # of every axis; None: the unit vectors
    values: Tensor  # in the grid of the axes, c included

    def times(self, power: float, value: Tensor) -> Tensor:
        """Return the matrix to this power times a direction of the parameter."""
        turned = self._turned(value.reshape(self.shape), forth=True) * self.values**power
        return self._turned(turned, forth=False).reshape(value.shape)

    def _turned(self, value: Tensor, *, forth: bool) -> Tensor:
        for axis, vectors in enumerate(self.vectors):
            if vectors is not None:
                turned = torch.tensordot(value, vectors, dims=([axis], [0 if forth else 1]))
                value = turned.movedim(-1, axis)
        return value


class Preconditioner:
    """P ≈ JᵀJ + ridge·I over all rows, symmetric and positive."""

    def __init__(self, problem: TrainingProblem, ridge: float) -> None:
        gram = torch.zeros(0)
        for rows, _ in problem.chunks():
            psi = problem.readout(rows).double()
            gram = gram + psi.T @ psi if gram.numel() else psi.T @ psi
        zero = problem.zero()
        head = zero.pop("head")
        own, vectors = _eigen(gram)
        values = (own * gram.trace().item() + ridge).to(head).expand(head.shape)
        turned = None if vectors is None else vectors.to(head)
        self._spectra = {"head": Spectrum(tuple(head.shape), [None, turned], values)}
        if zero:
            self._spectra |= backbone_spectra(zero, sampled(problem), ridge)

    def solve(self, residual: TangentDict) -> TangentDict:
        """P⁻¹·residual."""
        return self._times(-1.0, residual)

    def root(self, value: TangentDict) -> TangentDict:
        """P^(-1/2)·value, symmetric."""
        return self._times(-0.5, value)

    def _times(self, power: float, value: TangentDict) -> TangentDict:
        return {name: self._spectra[name].times(power, part) for name, part in value.items()}


def backbone_spectra(zero: TangentDict, bent: Curvature, ridge: float) -> dict[str, Spectrum]:
    """The model of the backbone's part of JᵀJ + ridge·I, by parameter."""
    return {
        name: _spectrum(parameter, bent.factors.get(name), bent.traces[name], ridge)
        for name, parameter in zero.items()
    }


def _spectrum(
    parameter: Tensor, factors: list[Tensor] | None, trace: float, ridge: float
) -> Spectrum:
    """Eigenvalues in proportion to the factors', with sum `trace`; all equal without factors."""
    if not factors or not trace:
        value = parameter.new_full((1,), trace / parameter.numel() + ridge)
        return Spectrum((-1,), [None], value)
    shape = tuple(len(factor) for factor in factors)
    values = torch.ones(1, dtype=torch.float64)
    vectors: list[Tensor | None] = []
    for factor in factors:
        own, turned = _eigen(factor)
        values = values.unsqueeze(-1) * own
        vectors.append(None if turned is None else turned.to(parameter))
    grid = (trace * values.squeeze(0) + ridge).to(parameter)
    return Spectrum(shape, vectors, grid)


def _eigen(factor: Tensor) -> tuple[Tensor, Tensor | None]:
    """Eigenvalues with sum 1, and eigenvectors; equal values and None where LAPACK fails.

    In float64: a factor of few images has many eigenvalues near 0, which float32 cannot resolve.
    """
    size = factor.double().trace()
    try:
        if size == 0:
            raise torch.linalg.LinAlgError
        values, vectors = torch.linalg.eigh(factor.double() / size)
    except torch.linalg.LinAlgError:
        return torch.full((len(factor),), 1 / len(factor), dtype=torch.float64), None
    values = values.clamp(min=0)
    return (values / values.sum()).cpu(), vectors


def sampled(problem: TrainingProblem, max_rows: int = SAMPLE) -> Curvature:
    """The curvature of at most `max_rows` rows, scaled to all rows."""
    engine, count = problem.space.engine, len(problem.rows)
    suffix = problem.space.suffix
    assert engine is not None and suffix is not None
    index = torch.linspace(0, count - 1, min(max_rows, count)).round().long().unique()
    generator = torch.Generator().manual_seed(0)
    rows_on_phi = problem.base[:, : problem.space.width]
    parts = []
    for some in index.split(AT_ONCE):
        rows, _ = problem.batch(some)
        signs = torch.randint(0, 2, (len(rows), len(problem.labels)), generator=generator) * 2 - 1
        cotangent = signs.to(rows_on_phi) @ rows_on_phi
        parts.append(curvature(suffix, engine.activation(rows), cotangent.to(rows.dtype)))
    return scaled(added(parts), count / len(index))
