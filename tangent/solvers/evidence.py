"""Which penalty the data speak for: their evidence, from the sums that training takes anyway.

Read eq. (4) as a regression of beta onehot - a·psi on psi, with noise of variance s² and a delta
drawn from N(0, s²/c) before any image is seen. How probable what was asked of N images then is,
delta integrated out and s² at its best, is up to a constant (Bishop 2006, section 3.5)

    log p(c) = -NK/2 log Q(c) - K/2 (log|G + cI| - D log c),
    Q(c) = sum over images and labels of (beta onehot - a·psi)² - sum_l z_lᵀ (G + cI)⁻¹ z_l,
    z_l = beta s_l - G a_l.

It needs no image held out, is the same for any split of the images into components, and changes
with an image as the sums do.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tangent.errors import NonFinite
from tangent.solvers.ridge import factor

ROUNDING = 1e-12  # of the first term of Q: far above what rounding moves the difference by


def log_evidence(
    gram: Tensor, residuals: Tensor, squares: float, ridge: float, observed: float
) -> float:
    """log p(c) up to what does not depend on c.

    gram (D, D); residuals z (K, D) of all labels; squares the first term of Q; observed N, the
    number of images that weighted ones are worth. Scaling all three sums and c changes nothing.

    Raises:
        NonFinite: as `joint.factor`.
    """
    lower = factor(gram, ridge)
    explained = torch.linalg.solve_triangular(lower, residuals.T, upper=False).square().sum().item()
    # Fewer images than features can all be met, and p levels off as c falls. The margin keeps a
    # choice between such equals from being one of rounding: the larger c has it.
    left = max(squares - explained, 0.0) + ROUNDING * squares
    volume = 2 * lower.diagonal().log().sum().item() - len(gram) * math.log(ridge)
    return -0.5 * len(residuals) * (observed * math.log(left) + volume)


def maximise_evidence(
    value: Callable[[float], float], choices: Sequence[float], start: float
) -> float:
    """Of the ascending choices, that with the highest value on the way up from the start.

    A choice whose value is NonFinite is not taken.
    """
    at = choices.index(start)
    best = _value(value, choices[at])
    for step in (1, -1):
        begun = at
        while 0 <= at + step < len(choices):
            following = _value(value, choices[at + step])
            if following <= best:
                break
            at, best = at + step, following
        if at != begun:
            break
    return choices[at]


def _value(value: Callable[[float], float], choice: float) -> float:
    try:
        return value(choice)
    except NonFinite:
        return -math.inf
