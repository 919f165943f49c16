"""The evidence for a penalty, from the sums that training computes anyway.

Read eq. (4) as a regression of beta onehot - a·psi on psi, with noise of variance s² and a delta
drawn from N(0, s²/c) before any image is seen. The log marginal likelihood of the targets of N
images (delta integrated out, s² maximised) is, up to a constant (Bishop 2006, section 3.5),

    log p(c) = -NK/2 log Q(c) - K/2 (log|G + cI| - D log c),
    Q(c) = sum over images and labels of (beta onehot - a·psi)² - sum_l z_lᵀ (G + cI)⁻¹ z_l,
    z_l = beta s_l - G a_l.

It needs no held-out images, does not depend on how the images are split into components, and can be
updated for an added or removed image as the sums can.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tangent.errors import NonFinite
from tangent.solvers.ridge import factor

ROUNDING = 1e-12  # relative to the first term of Q: far above the rounding of the difference


def log_evidence(
    gram: Tensor, residuals: Tensor, squares: float, ridge: float, observed: float
) -> float:
    """log p(c), up to terms that do not depend on c.

    gram: G (D, D); residuals: z (K, D) of all labels; squares: the first term of Q; observed: N,
    the effective number of weighted images. Scaling all three sums and c together changes nothing.

    Raises:
        NonFinite: as `ridge.factor`.
    """
    lower = factor(gram, ridge)
    explained = torch.linalg.solve_triangular(lower, residuals.T, upper=False).square().sum().item()
    # With fewer images than features a fit can be perfect, and p levels off as c falls. The margin
    # keeps rounding from choosing between equal values: the larger c wins.
    left = max(squares - explained, 0.0) + ROUNDING * squares
    volume = 2 * lower.diagonal().log().sum().item() - len(gram) * math.log(ridge)
    return -0.5 * len(residuals) * (observed * math.log(left) + volume)


def maximise_evidence(
    value: Callable[[float], float], choices: Sequence[float], start: float
) -> float:
    """Return the ascending choice with the highest value, by hill climbing from the start.

    A choice whose value is NonFinite is skipped.
    """
    at = choices.index(start)
    best = _value(value, choices[at])
    for step in (1, -1):
        before = at
        while 0 <= at + step < len(choices):
            following = _value(value, choices[at + step])
            if following <= best:
                break
            at, best = at + step, following
        if at != before:
            break
    return choices[at]


def _value(value: Callable[[float], float], choice: float) -> float:
    try:
        return value(choice)
    except NonFinite:
        return -math.inf
