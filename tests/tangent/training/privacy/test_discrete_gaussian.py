"""The sampler: its distribution against the formula, and a twin that computes with fractions."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from tangent.training.privacy.discrete_gaussian import Coins, discrete_gaussian

DRAWS = 200_000


def repeatable(seed: int):
    return random.Random(seed).randbytes


def expected(log2_sigma: int, values: np.ndarray) -> np.ndarray:
    sigma = 2.0**log2_sigma
    reach = np.arange(-int(40 * sigma), int(40 * sigma) + 1)
    weights = np.exp(-(reach**2) / (2 * sigma**2))
    return np.exp(-(values**2) / (2 * sigma**2)) / weights.sum()


@pytest.mark.parametrize("log2_sigma", [0, 1, 3])
def test_every_number_has_its_probability(log2_sigma):
    found = discrete_gaussian(log2_sigma, (DRAWS,), repeatable(log2_sigma))
    edge = 3 * 2**log2_sigma
    inside = np.arange(-edge, edge + 1)
    counts = [(found == value).sum() for value in inside]
    chances = expected(log2_sigma, inside)
    counts.append(DRAWS - sum(counts))
    chances = np.append(chances, 1 - chances.sum())
    assert stats.chisquare(counts, chances * DRAWS).pvalue > 1e-3


@pytest.mark.parametrize("log2_sigma", [12, 18, 26])
def test_with_a_large_sigma_it_is_the_normal_distribution(log2_sigma):
    found = discrete_gaussian(log2_sigma, (DRAWS,), repeatable(log2_sigma)) / 2.0**log2_sigma
    assert stats.kstest(found, "norm").pvalue > 1e-3


def test_a_slow_twin_with_fractions_has_the_same_distribution():
    drawn, generator = [], random.Random(1)
    while len(drawn) < 20_000:
        value = twin(2, generator)
        if value is not None:
            drawn.append(value)
    fast = discrete_gaussian(2, (20_000,), repeatable(2))
    inside = np.arange(-8, 9)
    table = [[(np.array(some) == v).sum() for v in inside] for some in (drawn, fast)]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def twin(log2_sigma: int, generator: random.Random) -> int | None:
    """One try of algorithm 3 of Canonne, Kamath and Steinke, with whole numbers and fractions."""
    sigma = 2**log2_sigma

    def chance(p: Fraction) -> bool:
        return generator.randrange(p.denominator) < p.numerator

    def decays(gamma: Fraction) -> bool:
        if gamma > 1:
            return decays(Fraction(1)) and decays(gamma - 1)
        k = 1
        while chance(gamma / k):
            k += 1
        return k % 2 == 1

    within = generator.randrange(sigma)
    if not decays(Fraction(within, sigma)):
        return None
    beyond = 0
    while decays(Fraction(1)):
        beyond += 1
    size, negative = within + sigma * beyond, generator.random() < 0.5
    if negative and not size:
        return None
    if not decays(Fraction((size - sigma) ** 2, 2 * sigma**2)):
        return None
    return -size if negative else size


@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_a_chance_of_one_in_a_number_comes_that_often(number):
    came = Coins(repeatable(number)).one_in(number, DRAWS).sum()
    assert stats.binomtest(int(came), DRAWS, 1 / number).pvalue > 1e-3


@pytest.mark.parametrize("numerator", [0, 1, 9, 16])
def test_a_chance_of_exp_minus_a_fraction_comes_that_often(numerator):
    came = Coins(repeatable(3)).decays(np.full(DRAWS, numerator), 4).sum()
    assert stats.binomtest(int(came), DRAWS, math.exp(-numerator / 16)).pvalue > 1e-3


def test_the_randomness_alone_decides_and_by_default_nobody_can_repeat_it():
    again = [discrete_gaussian(18, (50,), repeatable(0)).tolist() for _ in range(2)]
    assert again[0] == again[1]
    assert (discrete_gaussian(18, (50,)) != discrete_gaussian(18, (50,))).all()


def test_the_default_is_the_operating_system_s_randomness(monkeypatch):
    state = np.random.get_state()[1].copy()
    discrete_gaussian(18, (3,))
    assert (np.random.get_state()[1] == state).all()
    assert discrete_gaussian.__defaults__ == (__import__("os").urandom,)


def test_a_sigma_whose_fractions_leave_64_bits_is_refused():
    with pytest.raises(ValueError, match="log2_sigma is 27"):
        discrete_gaussian(27, (1,))
