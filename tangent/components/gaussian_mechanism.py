"""The privacy of adding Gaussian noise: epsilon and delta, and the noise that they ask for.

A sum that one image changes by at most R in length, released with noise N(0, sigma²) on every
entry, has the privacy of one number: mu = R / sigma. It is (epsilon, delta)-private if and only if

    delta >= Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu)

(Balle and Wang 2018, theorem 8). Several releases about the same images, each chosen with the
earlier ones in view, are together as private as one with mu² the sum of theirs.

Loads nothing but the standard library, so what must start without torch can import it.
"""

import math
from collections.abc import Callable, Iterable

MIN_MU, MAX_MU = 1e-6, 1e3
HALVINGS = 200  # of an interval: down to neighbouring floats
MARGIN = 1e-8  # of noise, for the rounding of these formulas and for noise in whole numbers


def delta_of(epsilon: float, mu: float) -> float:
    """Return the smallest delta with which noise of this mu is (epsilon, delta)-private."""
    if mu <= 0:
        return 0.0
    outside = epsilon + _log_normal(-mu / 2 - epsilon / mu)
    return max(_normal(mu / 2 - epsilon / mu) - math.exp(min(outside, 0.0)), 0.0)


def epsilon_of(delta: float, mu: float) -> float:
    """Return the smallest epsilon with which noise of this mu is (epsilon, delta)-private."""
    if mu <= 0 or delta_of(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while delta_of(high, mu) > delta:
        high *= 2
    return _first(lambda epsilon: delta_of(epsilon, mu) <= delta, 0.0, high)


def mu_of(epsilon: float, delta: float) -> float:
    """Return the largest mu that is (epsilon, delta)-private, less a small margin."""
    unsafe = _first(lambda mu: delta_of(epsilon, mu) > delta, MIN_MU, MAX_MU)
    return unsafe * (1 - MARGIN)


def composed(mus: Iterable[float]) -> float:
    """Return the mu of several releases about the same images together."""
    return math.sqrt(math.fsum(mu * mu for mu in mus))


def _first(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return the least number from which a condition holds that fails at `low`."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _log_normal(x: float) -> float:
    """Return log Phi(x), also where Phi(x) is too small for a float."""
    if x > -30:
        return math.log(_normal(x))
    # The asymptotic series; its next term is below 1e-6 of the sum here.
    series = 1 - 1 / x**2 + 3 / x**4 - 15 / x**6
    return -0.5 * x * x - math.log(-x) - 0.5 * math.log(2 * math.pi) + math.log(series)
