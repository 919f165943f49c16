"""The joint optimum of the square loss from statistics: training on the pooled data, exactly.

With h_l = (a_l + delta_l)·psi, a_l the base row of label l, K labels and n images, the minimiser of
(1/nK) sum (h - beta onehot)² + mu/2 |delta|² solves, label by label,

    (G + c I) delta_l = beta s_l - G a_l,        c = mu n K / 2.

G is the same for every label, so one factorisation serves all, labels without images included (s_l
= 0).
"""

import torch
from torch import Tensor

from tangent.errors import NonFinite


def solve(gram: Tensor, targets: Tensor, base: Tensor, ridge: float) -> Tensor:
    """Solve (gram + ridge I) delta_l = targets_l - gram a_l for delta (K, D); all in float64.

    gram (D, D) may be singular (standardised features sum to a constant): the ridge makes it
    definite.

    Raises:
        NonFinite: as `factor`.
    """
    return substituted(factor(gram, ridge), (targets - base @ gram).T).T


def factor(gram: Tensor, ridge: float) -> Tensor:
    """Return the lower Cholesky factor of gram + ridge I.

    Raises:
        NonFinite: the statistics contain NaN or Inf, or rounding made the matrix indefinite.
    """
    # The matrix is symmetric: in column order LAPACK factorises it without a copy.
    matrix = gram.clone().mT
    matrix.diagonal().add_(ridge)
    info = torch.empty((), dtype=torch.int32, device=gram.device)
    lower: Tensor = torch.linalg.cholesky_ex(matrix, out=(matrix, info))[0]
    if info.item() != 0 or not torch.isfinite(lower.diagonal()).all():  # NaN spreads to there
        raise NonFinite(
            f"the curvature of {len(gram)} features is not positive definite with ridge "
            f"{ridge:.3g}: raise l2, or check the features for NaN"
        )
    return lower


def substituted(lower: Tensor, right: Tensor) -> Tensor:
    """Solve L Lᵀ x = right for x (D, K), L the lower factor, which `cholesky_solve` would copy."""
    half = torch.linalg.solve_triangular(lower, right, upper=False)
    solution: Tensor = torch.linalg.solve_triangular(lower.mT, half, upper=True)
    return solution
