"""Epsilon and delta of Gaussian noise: against the definition, and Google's accounting."""

import math

import numpy as np
import pytest
from dp_accounting import gaussian_mechanism as google
from scipy.integrate import quad

from tangent.components.gaussian_mechanism import composed, delta_of, epsilon_of, mu_of

epsilons = pytest.mark.parametrize("epsilon", [0.05, 0.3, 1.0, 3.0, 8.0, 20.0])
deltas = pytest.mark.parametrize("delta", [1e-12, 1e-9, 1e-5, 1e-2])


@pytest.mark.parametrize(
    ("epsilon", "mu"), [(0.1, 0.2), (1.0, 0.3), (1.0, 1.0), (3.0, 0.8), (8.0, 2.0)]
)
def test_delta_is_how_far_one_density_rises_above_exp_epsilon_times_the_other(epsilon, mu):
    def density(x: float, mean: float) -> float:
        return math.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi)

    crossing = epsilon / mu + mu / 2  # from here on, the difference is positive
    found, _ = quad(
        lambda x: density(x, mu) - math.exp(epsilon) * density(x, 0), crossing, crossing + 40
    )
    assert delta_of(epsilon, mu) == pytest.approx(found, rel=1e-6)


@epsilons
@deltas
def test_the_noise_is_no_smaller_than_google_asks_for_and_hardly_larger(epsilon, delta):
    multiplier = 1 / mu_of(epsilon, delta)
    assert google.get_sigma_gaussian(epsilon, delta) <= multiplier * (1 + 1e-12)
    assert multiplier <= google.get_sigma_gaussian(epsilon, delta) * (1 + 1e-6)


@epsilons
@deltas
def test_the_epsilon_of_that_noise_is_the_one_asked_for(epsilon, delta):
    assert epsilon_of(delta, mu_of(epsilon, delta)) == pytest.approx(epsilon, rel=1e-6)
    assert epsilon_of(delta, mu_of(epsilon, delta)) <= epsilon


def test_noise_without_bound_tells_nothing():
    assert epsilon_of(1e-5, 0.0) == 0.0
    assert delta_of(1.0, 0.0) == 0.0


def test_releases_together_are_as_private_as_the_sum_of_their_privacy_losses():
    # The loss of one release is normal with mean mu²/2 and variance mu²: that of several is a sum.
    mus, draws = (0.4, 0.7, 0.2), np.random.default_rng(0).normal(size=(3, 400_000))
    losses = sum(mu * mu / 2 + mu * row for mu, row in zip(mus, draws, strict=True))
    delta = np.maximum(1 - np.exp(1.0 - losses), 0).mean()
    assert delta_of(1.0, composed(mus)) == pytest.approx(delta, rel=0.02)
