"""Totals of privacy: several releases about the same images, counted by `dp-accounting`.

Every release adds Gaussian noise, so several are together as private as one with less noise:
1/multiplier² is the sum of theirs, also if a later one was chosen with the earlier ones in view.
Google's `dp-accounting` says which epsilon that is; `tangent.training.privacy` chose the noise by
formulas of its own, so neither is trusted alone.
"""

import math
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import version
from typing import NamedTuple

ACCOUNTANT = f"dp-accounting {version('dp-accounting')}"
LIBRARY = "dp_accounting.gaussian_mechanism"
ROUNDING = 1e-6  # of an epsilon: both formulas agree to less


class Total(NamedTuple):
    """Epsilon and delta of several releases together."""

    epsilon: float
    delta: float


def load() -> None:
    """Load the library, which takes half a second or more: before a lock is held, not under it."""
    import_module(LIBRARY)


def total(noise_multipliers: Iterable[float], delta: float) -> Total:
    """Return the privacy at this delta of releases that may all be about the same image."""
    losses = math.fsum(multiplier**-2 for multiplier in noise_multipliers)
    if not losses:
        return Total(0.0, delta)
    from dp_accounting import gaussian_mechanism  # late, as few requests need it

    return Total(float(gaussian_mechanism.get_epsilon_gaussian(losses**-0.5, delta)), delta)


def exceeds(spent: Total, epsilon: float) -> bool:
    """Return whether a total is more than a budget of this epsilon."""
    return spent.epsilon > epsilon * (1 + ROUNDING)
