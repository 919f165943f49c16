"""Generalised cross-validation of a penalty, from the sums that training computes anyway.

Leave one image out, predict its targets by the others, and sum the squared errors: Σ |r_i|² /
(1 - h_i)² with r_i the residual and h_i the leverage of the image. With the mean leverage in place
of every h_i (Golub, Heath & Wahba 1979) it is a function of sums over images,

    V(c) = R(c) / (1 - f(c) / N)²,          f(c) = tr G (G + cI)⁻¹, the fit's degrees of freedom
    R(c) = sum of (beta onehot - a·psi)² over images and labels - sum_l z_lᵀ d_l - c |d|²,
    d_l = (G + cI)⁻¹ z_l,                   z_l = beta s_l - G a_l.

So no image is held out, the choice does not depend on how the images are split into components,
and it changes with an added or removed image as the sums do.
"""

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from tangent.errors import NonFinite
from tangent.solvers.spectrum import Spectrum

ROUNDING = 1e-10  # of the targets' squares: far above the rounding of R
CLEARLY = 1e-4  # of log V: where it levels off, rounding would choose between neighbours


def log_error(
    spectrum: Spectrum,
    residuals: Tensor,
    squares: float,
    ridge: float,
    observed: float,
    *,
    caution: float = 1.0,
) -> float:
    """log V(c); infinite where the fit has as many degrees of freedom as there are images.

    spectrum: of G (D, D); residuals: z (K, D) of all labels; squares: the first term of R;
    observed: N, the effective number of weighted images. Scaling the first three and c together
    adds a constant. caution: a factor of f above 1 guards against penalties that are too small
    (Cummins, Filloon & Nychka 2001).

    Raises:
        NonFinite: as `ridge.factor`.
    """
    spare = 1 - caution * spectrum.degrees_of_freedom(ridge) / observed
    if spare <= 0:
        return math.inf
    explained = spectrum.explained(residuals, ridge)
    # With fewer images than features a fit can be perfect. The margin keeps rounding from choosing
    # between perfect fits: the larger c wins.
    left = max(squares - explained, ROUNDING * squares)
    return math.log(left or math.ulp(0.0)) - 2 * math.log(spare)


def minimise(value: Callable[[float], float], choices: Sequence[float], start: float) -> float:
    """Return the ascending choice with the lowest value, by descending from the start.

    It goes a step on where the value falls clearly. A choice whose value is infinite or NonFinite
    is passed on the way up, and not taken.
    """
    at = choices.index(start)
    best = _value(value, choices[at])
    for step in (1, -1):
        before = at
        while 0 <= at + step < len(choices):
            following = _value(value, choices[at + step])
            if following >= best - CLEARLY and not (step == 1 and math.isinf(best)):
                break
            at, best = at + step, following
        if at != before:
            break
    return choices[at]


def _value(value: Callable[[float], float], choice: float) -> float:
    try:
        return value(choice)
    except NonFinite:
        return math.inf
