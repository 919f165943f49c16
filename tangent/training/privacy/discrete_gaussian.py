"""Whole numbers from the discrete Gaussian: P(x) proportional to exp(-x² / (2 sigma²)), exactly.

The algorithm is that of Canonne, Kamath and Steinke (2020): a discrete Laplace number is accepted
with a probability that turns its distribution into the discrete Gaussian. Every decision compares
random bits with whole numbers. There are no floats, whose rounding could show what the noise hides
(Mironov 2012). As sigma is a power of two, so is every denominator, and all numbers fit 64 bits.
"""

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Mask = NDArray[np.bool_]
Randomness = Callable[[int], bytes]  # number of bytes -> as many that nobody can predict

AT_ONCE = 1 << 18  # numbers drawn together
MAX_LOG2_SIGMA = 26  # beyond, a numerator could leave 64 bits


def discrete_gaussian(
    log2_sigma: int, shape: tuple[int, ...], randomness: Randomness = os.urandom
) -> Whole:
    """Return independent numbers with sigma = 2^log2_sigma.

    randomness: by default the operating system's, which is fit for keys.
    """
    if not 0 <= log2_sigma <= MAX_LOG2_SIGMA:
        raise ValueError(f"log2_sigma is {log2_sigma}, not from 0 to {MAX_LOG2_SIGMA}")
    coins, missing = Coins(randomness), int(np.prod(shape, dtype=np.int64))
    parts = [np.empty(0, np.int64)]
    while missing:
        part = _accepted(coins, log2_sigma, min(AT_ONCE, 2 * missing + 16))[:missing]
        parts.append(part)
        missing -= len(part)
    return np.concatenate(parts).reshape(shape)


class Coins:
    """Random decisions of exact probabilities, many at a time."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness

    def bits(self, number: int, count: int) -> Whole:
        """Return `count` uniform numbers below 2^number; at most 63 bits each."""
        words = np.frombuffer(self._randomness(8 * count), np.uint64)
        return (words >> np.uint64(64 - number)).astype(np.int64) if number else _zeros(count)

    def one_in(self, number: int, count: int) -> Mask:
        """Return which of `count` chances of 1 / number came."""
        came = np.zeros(count, np.bool_)
        left, most = np.arange(count), 2**63 // number * number
        while len(left):
            drawn = self.bits(63, len(left))
            came[left] = drawn % number == 0
            left = left[drawn >= most]  # these would favour some residues
        return came

    def decays(self, numerator: Whole, log2_denominator: int) -> Mask:
        """Return which of the chances exp(-numerator / 2^log2_denominator), at most 1, came.

        The numerators are from 0 to 2^log2_denominator.
        """
        # With a chance of x, then x/2, x/3 … the number of the first miss is odd with exp(-x).
        came = np.zeros(len(numerator), np.bool_)
        left, number = np.arange(len(numerator)), 1
        while len(left):
            hit = self.bits(log2_denominator, len(left)) < numerator[left]
            hit &= self.one_in(number, len(left))
            came[left[~hit]] = number % 2 == 1
            left, number = left[hit], number + 1
        return came

    def times_before_a_miss(self, count: int) -> Whole:
        """Return how often in a row a chance of 1/e came, `count` times over."""
        times, left = _zeros(count), np.arange(count)
        while len(left):
            left = left[self.decays(np.ones(len(left), np.int64), 0)]
            times[left] += 1
        return times

    def outlasts(self, times: Whole) -> Mask:
        """Return which of the chances exp(-times) came."""
        came, left, done = np.zeros(len(times), np.bool_), np.arange(len(times)), 0
        while len(left):
            came[left[times[left] == done]] = True
            left, done = left[times[left] > done], done + 1
            left = left[self.decays(np.ones(len(left), np.int64), 0)]
        return came


def _accepted(coins: Coins, log2_sigma: int, count: int) -> Whole:
    """Return about a third of `count` numbers of the discrete Gaussian."""
    within, beyond = _laplace(coins, log2_sigma, count)
    negative = coins.bits(1, len(within)) == 1
    kept = ~negative | (within > 0) | (beyond > 0)  # there is one zero, not two
    within, beyond, negative = within[kept], beyond[kept], negative[kept]
    kept = _survives(coins, log2_sigma, within, beyond)
    size: Whole = (within + (beyond << log2_sigma))[kept]
    size[negative[kept]] *= -1
    return size


def _laplace(coins: Coins, log2_sigma: int, count: int) -> tuple[Whole, Whole]:
    """Return sizes |y| = within + sigma beyond, with P(y) proportional to exp(-|y| / sigma)."""
    within = coins.bits(log2_sigma, count)
    within = within[coins.decays(within, log2_sigma)]
    return within, coins.times_before_a_miss(len(within))


def _survives(coins: Coins, log2_sigma: int, within: Whole, beyond: Whole) -> Mask:
    """Return which of the chances exp(-(|y| - sigma)² / (2 sigma²)) came.

    With b = beyond - 1 the exponent is b²/2 + b within/sigma + within²/(2 sigma²). Whole parts and
    fractions are added separately, the fractions in units of 1/(2 sigma²): nothing overflows.
    """
    unit, b = 2 * log2_sigma + 1, beyond - 1
    mixed = b * within
    fraction = ((b * b & 1) << (unit - 1)) + within * within
    fraction += (mixed & ((1 << log2_sigma) - 1)) << (log2_sigma + 1)
    whole = (b * b >> 1) + (mixed >> log2_sigma) + (fraction >> unit)
    kept = coins.outlasts(whole)
    kept[kept] = coins.decays(fraction[kept] & ((1 << unit) - 1), unit)
    return kept


def _zeros(count: int) -> Whole:
    return np.zeros(count, np.int64)
