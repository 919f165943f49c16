"""The temperature of probabilities against a plain search, and where no search has an end."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from tangent.solvers.temperature import fitted_temperature


def drawn(sharpness: float, count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores, and labels drawn with the probabilities softmax(sharpness · scores)."""
    draw = np.random.default_rng(3)
    scores = draw.normal(size=(count, 5)) * 4
    powers = np.exp(log_softmax(sharpness * scores, axis=1))
    truth = [draw.choice(5, p=row) for row in powers]
    return torch.from_numpy(scores), torch.tensor(truth)


def test_it_minimises_the_negative_log_likelihood_of_smoothed_targets():
    scores, truth = drawn(0.3)
    doubt = 1 / 402

    def loss(log_t: float) -> float:
        logs = log_softmax(scores.numpy() / np.exp(log_t), axis=1)
        own = logs[np.arange(400), truth.numpy()]
        return float(-((1 - doubt) * own + doubt * logs.mean(1)).mean())

    best = np.exp(minimize_scalar(loss, bounds=(-5, 5), options={"xatol": 1e-10}).x)
    assert abs(fitted_temperature(scores, truth) / best - 1) < 1e-4
    assert abs(best - 1 / 0.3) < 0.5  # and it is near the one that the labels were drawn with


@pytest.mark.parametrize("factor", [7.0, 1e-200, 1e300])
def test_scaled_scores_have_a_scaled_temperature(factor):
    scores, truth = drawn(0.3)
    ratio = fitted_temperature(factor * scores, truth) / fitted_temperature(scores, truth)
    assert abs(ratio / factor - 1) < 1e-9


def test_scores_beyond_all_floats_have_temperature_one():
    scores, truth = drawn(0.3)
    assert fitted_temperature(1e308 * scores, truth) == 1


def test_scores_that_are_all_right_have_a_temperature_above_zero():
    scores = 10 * torch.eye(4, dtype=torch.float64)
    temperature = fitted_temperature(scores, torch.arange(4))
    sure = float(torch.softmax(scores / temperature, 1)[0, 0])
    assert 0.8 < sure < 0.95  # four images are no reason to be surer


def test_scores_that_say_nothing_give_even_probabilities():
    scores, _ = drawn(1.0)
    wrong = scores.argmin(1)
    powers = torch.softmax(scores / fitted_temperature(scores, wrong), 1)
    assert float((powers - 0.2).abs().max()) < 1e-3


def test_one_label_has_temperature_one():
    assert fitted_temperature(torch.ones(3, 1, dtype=torch.float64), torch.zeros(3).long()) == 1
