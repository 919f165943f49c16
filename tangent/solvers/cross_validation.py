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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from tangent.errors import NonFinite
from tangent.solvers.spectrum import Spectrum

ROUNDING = 1e-10  # of the targets' squares: far above the rounding of R
CLEARLY = 1e-4  # of log V: where it levels off, rounding would choose


@dataclass(frozen=True)
class LeftOutError:
    """V as a function of mu, c = unit mu; a factor on G, z, squares and unit adds to log V."""

    spectrum: Spectrum  # of G (D, D)
    residuals: Tensor  # z (K, D) of all labels
    squares: float  # the first term of R
    observed: float  # N, the effective number of weighted images
    unit: float = 1.0
    # A factor of f above 1 guards against penalties that are too small (Cummins, Filloon & Nychka
    # 2001).
    caution: float = 1.0

    def log(self, l2: float) -> float:
        """log V of mu = l2; infinite where nothing is left to judge by.

        That is where no degree of freedom is spare, and where rounding hides what separates the
        fit from a perfect one.
        """
        spare = self._log_spare(l2)
        if math.isinf(spare):
            return math.inf
        try:
            left = self.squares - self.spectrum.explained(self.residuals, self.unit * l2)
        except NonFinite:  # rounding made the matrix indefinite
            return math.inf
        return math.log(left) - 2 * spare if left > ROUNDING * self.squares else math.inf

    def logs(self, choices: Sequence[float]) -> dict[float, float]:
        """Return log V of every ascending mu that could be the lowest, and of some others.

        With about as many features as images V can have valleys far apart, so no descent finds
        the lowest. But R grows with c: log V(c) ≥ log V(b) - 2 log (1 - f(c)/N) / (1 - f(b)/N) for
        b < c. Of every second choice V is computed only if this bound is low enough.
        """
        found = {l2: self.log(l2) for l2 in choices[::2]}
        for below, l2 in zip(choices[::2], choices[1::2], strict=False):
            bound = found[below] - 2 * (self._log_spare(l2) - self._log_spare(below))
            if math.isinf(found[below]) or bound <= min(found.values()) + CLEARLY:
                found[l2] = self.log(l2)
        return found

    def _log_spare(self, l2: float) -> float:
        """log(1 - f(c) / N); -inf where the fit has as many degrees of freedom as images."""
        freedom = self.spectrum.degrees_of_freedom(self.unit * l2)
        spare = 1 - self.caution * freedom / self.observed
        return math.log(spare) if spare > 0 else -math.inf


def lowest(errors: Mapping[float, float]) -> float:
    """Return the mu with the lowest log V; of nearly equal ones the largest."""
    least = min(errors.values())
    return max(l2 for l2, error in errors.items() if error <= least + CLEARLY)
