"""The minimum of a strictly convex quadratic in few unknowns, free or under a constraint.

    ½ xᵀHx - gᵀx        none · non_negative: x >= 0 · simplex: x >= 0 and sum x = 1

A primal active-set method finds it, exactly up to rounding and in finitely many steps. It always
starts from the same point.
"""

import torch
from torch import Tensor

from tangent.errors import IndefiniteProblem

MIN_EIGENVALUE = 1e-12  # of H, relative to the largest
ROUNDING = 1e-12  # tolerated violation of a multiplier's sign


def minimise(hessian: Tensor, linear: Tensor, constraint: str) -> Tensor:
    """Return the minimiser x (T,) for H (T, T) and g (T,), all in float64.

    Raises:
        IndefiniteProblem: H is not positive definite, so there is no unique minimum.
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
        steps = torch.where(target < 0, x / (x - target), torch.inf)  # until the entry reaches 0
        blocking = int(steps.argmin())
        x = x + float(steps[blocking]) * (target - x)
        x[blocking], free[blocking] = 0.0, False
    raise IndefiniteProblem(
        "the active set did not converge: raise l2, or remove components that are nearly equal"
    )


def _check_definite(hessian: Tensor) -> None:
    if torch.isfinite(hessian).all():
        values = torch.linalg.eigvalsh(hessian)
        if float(values[0]) > MIN_EIGENVALUE * float(values[-1]):
            return
    raise IndefiniteProblem(
        f"the best weights of these {len(hessian)} components are not determined: some components "
        "change the answers in the same way, or the weights grow without bound; set l2 above 0, "
        "or raise it"
    )


def _stationary(hessian: Tensor, linear: Tensor, free: Tensor, total: float | None) -> Tensor:
    """The minimiser whose entries outside `free` are zero and, if given, sum to `total`."""
    x = torch.zeros_like(linear)
    if not bool(free.any()):
        return x
    lower = torch.linalg.cholesky(hessian[free][:, free])
    solution = torch.cholesky_solve(linear[free, None], lower)[:, 0]
    if total is not None:
        ones = torch.cholesky_solve(torch.ones_like(solution)[:, None], lower)[:, 0]
        solution = solution + (total - solution.sum()) / ones.sum() * ones
    x[free] = solution
    return x
