"""The minimum of a strictly convex quadratic in few unknowns, free or under a constraint.

    ½ xᵀHx - gᵀx        none · non_negative: x >= 0 · simplex: x >= 0 and sum x = 1

By a primal active-set method: exact up to rounding, in finitely many steps, from the same start
each time.
"""

import torch
from torch import Tensor

from tangent.errors import IndefiniteProblem

LOWEST = 1e-12  # of H's eigenvalues, relative to the highest
ROUNDING = 1e-12  # by which a multiplier may be on the wrong side


def minimise(hessian: Tensor, linear: Tensor, constraint: str) -> Tensor:
    """The minimiser x (T,) for H (T, T) and g (T,), all in float64.

    Raises:
        IndefiniteProblem: H is not positive definite, so there is no minimum or not just one.
    """
    _check_definite(hessian)
    if constraint == "none":
        return _stationary(hessian, linear, torch.ones(len(linear), dtype=torch.bool), None)
    total = 1.0 if constraint == "simplex" else None
    x = torch.full_like(linear, 1 / len(linear))
    free = torch.ones(len(linear), dtype=torch.bool)
    slack = ROUNDING * float(linear.abs().max() + hessian.abs().sum(1).max() * x.abs().max() + 1)
    for _ in range(100 + 20 * len(linear)):
        target = _stationary(hessian, linear, free, total)
        if bool((target >= 0).all()):
            x = target
            slope = hessian @ x - linear
            if total is not None:
                slope = slope - slope[free].mean()
            slope[free] = 0.0
            if float(slope.min()) >= -slack:
                return x
            free[int(slope.argmin())] = True
            continue
        steps = torch.where(target < 0, x / (x - target), torch.inf)  # to where each one gets to 0
        blocking = int(steps.argmin())
        x = x + float(steps[blocking]) * (target - x)
        x[blocking], free[blocking] = 0.0, False
    raise IndefiniteProblem("the active set did not settle: raise l2, or drop like components")


def _check_definite(hessian: Tensor) -> None:
    if torch.isfinite(hessian).all():
        values = torch.linalg.eigvalsh(hessian)
        if float(values[0]) > LOWEST * float(values[-1]):
            return
    raise IndefiniteProblem(
        f"the best weights of these {len(hessian)} components are not determined: some of them "
        "change the answers alike, or weights without bound are best; use an l2 above 0 or a "
        "higher one"
    )


def _stationary(hessian: Tensor, linear: Tensor, free: Tensor, total: float | None) -> Tensor:
    """The minimiser with the entries that are not free at zero and, if given, this sum."""
    x = torch.zeros_like(linear)
    if not bool(free.any()):
        return x
    lower = torch.linalg.cholesky(hessian[free][:, free])
    found = torch.cholesky_solve(linear[free, None], lower)[:, 0]
    if total is not None:
        ones = torch.cholesky_solve(torch.ones_like(found)[:, None], lower)[:, 0]
        found = found + (total - found.sum()) / ones.sum() * ones
    x[free] = found
    return x
