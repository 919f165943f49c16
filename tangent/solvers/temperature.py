"""A temperature of probabilities: softmax(scores / T), T fitted to labelled scores.

T minimises the negative log-likelihood, a convex function of 1/T (Guo et al. 2017). Where the
scores are all right, no finite 1/T does: as Platt (1999), every label's target is drawn towards
the others by 1/(n + 2), which decides then and weighs next to nothing else.
"""

from collections.abc import Callable

import torch
from torch import Tensor

LOWEST, HIGHEST = 1e-4, 1e4  # of 1/T, in units of the scores' spread
STEPS = 100  # of bisection: far below rounding


def fitted_temperature(scores: Tensor, truth: Tensor) -> float:
    """Return T of scores (n, K) float64 whose right columns are `truth` (n,); 1 where K = 1.

    The scores should be those of images that the model has not seen: see `leave_one_out`.
    """
    count, labels = scores.shape
    scale = float(scores.abs().max())
    if labels == 1 or not 0 < scale < float("inf"):  # or none that a float holds
        return 1.0
    scores = scores / scale
    spread = float(scores.std(1).mean())
    if not spread > 0:
        return 1.0
    doubt = 1 / (count + 2)
    own = scores.gather(1, truth[:, None]).squeeze(1)
    target = (1 - doubt) * own + doubt * scores.mean(1)

    def slope(inverse: float) -> float:
        """Return the derivative of the negative log-likelihood with respect to 1/T."""
        expected = (torch.softmax(inverse * scores, 1) * scores).sum(1)
        return float((expected - target).mean())

    return scale / _root(slope, LOWEST / spread, HIGHEST / spread)


def _root(increasing: Callable[[float], float], low: float, high: float) -> float:
    """Return the root between two positive numbers, or the nearer one of them."""
    if increasing(low) >= 0:
        return low
    if increasing(high) <= 0:
        return high
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        if increasing(middle) < 0:
            low = middle
        else:
            high = middle
    return float((low * high) ** 0.5)
