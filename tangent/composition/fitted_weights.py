"""The weights lambda that fit labelled examples best: a convex problem in as many unknowns.

With f the base's logits and z_t = J delta_t, the logits of n examples are f + sum of lambda_t z_t,
and one pass of the backbone gives all of f and z. Then, K labels and u = 1/T the uniform weights,

    squared         (1/2nK) sum (f + z lambda - beta onehot)² + l2/2 |lambda - u|²
    cross_entropy   (1/n) sum of -log softmax(f + z lambda)_y + l2/2 |lambda - u|²

under a constraint of `active_set`. The first is a quadratic itself, the second is minimised by
Newton's method, each step a quadratic under the constraint. The penalty pulls towards the
average, which decides where examples are few.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tangent.errors import IndefiniteProblem
from tangent.solvers.active_set import minimise

MAX_STEPS = 100  # of Newton's method, which takes about ten where there is a minimum
FLAT = 1e-12  # a curvature this far below the first one is rounding: probabilities of 0 and 1
SETTLED = 1e-11  # the last step's size, relative to the weights


@dataclass(frozen=True)
class Examples:
    """Labelled images as the problem sees them; float64."""

    base: Tensor  # f (n, K)
    moved: Tensor  # z (n, K, T)
    truth: Tensor  # (n,) the label's column

    def __len__(self) -> int:
        return len(self.truth)

    def chosen(self, rows: Sequence[int]) -> "Examples":
        """Return the examples of these rows."""
        index = torch.tensor(list(rows), dtype=torch.long)
        return Examples(self.base[index], self.moved[index], self.truth[index])

    def logits(self, weights: Tensor) -> Tensor:
        """Return the composed logits (n, K)."""
        return self.base + self.moved @ weights

    def accuracy(self, weights: Tensor) -> float:
        """Return the share of examples whose own label has the greatest logit."""
        return float((self.logits(weights).argmax(1) == self.truth).double().mean())


def examples_of(
    chunks: Sequence[tuple[Tensor, Sequence[Tensor]]], truth: Sequence[int]
) -> Examples:
    """Build examples from the base's logits and the components' changes to them, by chunks."""
    base = torch.cat([base for base, _ in chunks])
    moved = torch.cat([torch.stack(list(each), 2) for _, each in chunks])
    return Examples(base, moved, torch.tensor(list(truth), dtype=torch.long))


@dataclass(frozen=True)
class WeightFit:
    """The objective, penalty and constraint of the weights."""

    objective: str
    l2: float
    constraint: str
    beta: float = 1.0  # target of the true label, for `squared`

    def value(self, examples: Examples, weights: Tensor) -> float:
        """Return the objective, penalty included."""
        return self._parts(examples, weights)[0]

    def solve(self, examples: Examples) -> Tensor:
        """Return the best weights (T,).

        Raises:
            IndefiniteProblem: no weights are the best, or more than one choice is.
        """
        weights = uniform(examples)
        value, slope, hessian = self._parts(examples, weights)
        flat = FLAT * float(hessian.diagonal().max())
        for _ in range(MAX_STEPS):
            step = minimise(hessian, hessian @ weights - slope, self.constraint) - weights
            if self.objective == "squared":
                return weights + step
            if float(hessian.diagonal().max()) <= flat:
                break
            if float(step.abs().max()) <= SETTLED * (1 + float(weights.abs().max())):
                return weights + step
            weights, value, slope, hessian = self._line_search(
                examples, weights, value, slope, step
            )
        raise IndefiniteProblem(
            "the weights grow without bound, as the components tell these images apart perfectly: "
            "use an l2 above 0 or a higher one"
        )

    def _line_search(
        self, examples: Examples, weights: Tensor, value: float, slope: Tensor, step: Tensor
    ) -> tuple[Tensor, float, Tensor, Tensor]:
        """Go along the step as far as the objective falls; every point on it is feasible."""
        length, expected = 1.0, float(slope @ step)
        while True:
            moved = weights + length * step
            found, slope_there, hessian = self._parts(examples, moved)
            if found <= value + 1e-4 * length * expected + 1e-13 * (1 + abs(value)):
                return moved, found, slope_there, hessian
            length /= 2

    def _parts(self, examples: Examples, weights: Tensor) -> tuple[float, Tensor, Tensor]:
        """Return value, gradient and Hessian."""
        away = weights - uniform(examples)
        measure = _squared if self.objective == "squared" else _cross_entropy
        value, slope, hessian = measure(examples, weights, self.beta)
        ridge = self.l2 * torch.eye(len(weights), dtype=torch.float64)
        penalty = 0.5 * self.l2 * float(away @ away)
        return value + penalty, slope + self.l2 * away, hessian + ridge


def uniform(examples: Examples) -> Tensor:
    """Return the weights of the rule `average`."""
    count = examples.moved.shape[2]
    return torch.full((count,), 1 / count, dtype=torch.float64)


def _squared(examples: Examples, weights: Tensor, beta: float) -> tuple[float, Tensor, Tensor]:
    off = examples.logits(weights)
    off[torch.arange(len(off)), examples.truth] -= beta
    flat = examples.moved.reshape(-1, len(weights))
    scale = 1 / off.numel()
    value = 0.5 * scale * float((off**2).sum())
    return value, scale * (flat.T @ off.reshape(-1)), scale * (flat.T @ flat)


def _cross_entropy(
    examples: Examples, weights: Tensor, _beta: float
) -> tuple[float, Tensor, Tensor]:
    logs = torch.log_softmax(examples.logits(weights), 1)
    rows, count = torch.arange(len(logs)), len(logs)
    value = -float(logs[rows, examples.truth].mean())
    shares = logs.exp()
    mean = torch.einsum("nk,nkt->nt", shares, examples.moved)
    slope = (mean - examples.moved[rows, examples.truth]).mean(0)
    spread = (examples.moved - mean[:, None]) * shares.sqrt()[..., None]
    flat = spread.reshape(-1, len(weights))
    return value, slope, flat.T @ flat / count
