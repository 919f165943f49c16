"""An audit of the release: an observer who knows all images but one learns what epsilon allows."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tangent.components.privacy import MECHANISMS
from tangent.training.privacy.contributions import LOG2_SIGMA, LOG2_SIGMA_PRODUCTS
from tangent.training.privacy.release import Release
from tests.support.private_sums import neighbours, terms

mechanisms = pytest.mark.parametrize("mechanism", MECHANISMS)


def noise_of(shape: Release, draws: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws of the noise on one row of sums, and on the upper triangle of products."""
    drawn = Release(torch.zeros(draws, shape.sums.shape[1], dtype=torch.int64), None).with_noise()
    if shape.products is None:
        return drawn.sums.double(), torch.zeros(draws, 0)
    pairs = len(shape.products) * (len(shape.products) + 1) // 2
    side = math.isqrt(2 * pairs * draws) + 1
    many = Release(drawn.sums[:0], torch.zeros(side, side, dtype=torch.int64)).with_noise().products
    rows, columns = torch.triu_indices(side, side).unbind()
    return drawn.sums.double(), many[rows, columns][: draws * pairs].view(draws, pairs).double()


def scores(without: Release, added: Release, draws: int, size: float = 1.0):
    """The best test's scores of both releases, for an observer who knows all other images.

    A score is the likelihood ratio's logarithm but for a constant: what was seen beyond the known
    sums, times the difference, over sigma². `size` scales the noise.
    """
    change = (added.sums - without.sums)[0].double()  # of cat
    triangle = torch.zeros(0)
    if added.products is not None:
        rows, columns = torch.triu_indices(*added.products.shape).unbind()
        triangle = (added.products - without.products)[rows, columns].double()
    found = []
    for moved in (0.0, 1.0):
        sums, products = noise_of(without, draws)
        seen = (moved * change + size * sums) @ change / 4.0**LOG2_SIGMA
        if len(triangle):
            seen += (moved * triangle + size * products) @ triangle / 4.0**LOG2_SIGMA_PRODUCTS
        found.append(seen.numpy())
    return found


def violations(seen, epsilon: float, delta: float) -> int:
    """Count the thresholds that show, with confidence, more than (epsilon, delta) allows."""
    without, added = seen
    shown = 0
    for threshold in np.quantile(added, [0.1, 0.3, 0.5, 0.7, 0.9]):
        hits, false = int((added > threshold).sum()), int((without > threshold).sum())
        least = stats.binomtest(hits, len(added)).proportion_ci(1 - 1e-5).low
        most = stats.binomtest(false, len(without)).proportion_ci(1 - 1e-5).high
        shown += bool(least > math.exp(epsilon) * most + delta)
    return shown


@mechanisms
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_neighbouring_datasets_differ_by_the_length_that_the_noise_was_made_for(mechanism, epsilon):
    asked = terms(mechanism=mechanism, epsilon=epsilon)
    without, added = neighbours(asked)
    mu2 = (added.sums - without.sums).double().square().sum() / 4.0**LOG2_SIGMA
    if added.products is not None:
        moved = (added.products - without.products).double()
        mu2 += moved.square().sum() / 4.0**LOG2_SIGMA_PRODUCTS
    # Half of an outer product is as long as the whole for an image along one axis only.
    assert (0.9 if mechanism == "class_sums" else 0.8) * asked.mu < math.sqrt(mu2) <= asked.mu


@mechanisms
def test_an_audit_finds_no_more_than_epsilon_allows_and_would_find_noise_of_half_the_size(
    mechanism,
):
    asked = terms(mechanism=mechanism, epsilon=1.0, delta=1e-2)
    without, added = neighbours(asked, "head")
    seen = scores(without, added, 10_000)
    assert violations(seen, 1.0, 1e-2) == 0
    separation = (seen[1].mean() - seen[0].mean()) / seen[0].std()
    assert separation == pytest.approx(asked.mu, rel=0.2)  # neither half nor double
    assert violations(scores(without, added, 10_000, size=0.5), 1.0, 1e-2) > 0
