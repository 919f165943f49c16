"""Calibration of a selection against plain sums in numpy: novelty and temperature."""

import numpy as np
import pytest
import torch

import tangent
from tangent.composition.calibration import NO_IMAGES, Calibration, calibrated
from tangent.composition.leave_one_out import Copy, scores_without
from tangent.composition.leverage import Leverage, curvature, leverages
from tangent.solvers.cross_validation import LeftOutError
from tangent.solvers.temperature import fitted_temperature
from tests.support.models import fitted, images, source, space

LABELS = ("ant", "bee", "cat")
ROWS = ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11])


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> list[tuple[tangent.Component, float | None]]:
    pool = source(16, [LABELS[i % 3] for i in range(12)])
    scratch = tmp_path_factory.mktemp("scratch")
    where = space("mini", "head2toe")
    made = []
    for number, rows in enumerate(ROWS):
        folder = scratch / str(number)
        folder.mkdir()
        made.append((fitted(where, pool.chosen(rows), folder, l2=1e-3).component, None))
    return made


def readouts(rows: list[int]) -> torch.Tensor:
    pool = source(16, [LABELS[i % 3] for i in range(12)])
    return space("mini", "head2toe").readout(pool.pixels[rows])


def copies(rows: list[int]) -> list[list[Copy]]:
    return [[Copy(int(row >= 6), LABELS[row % 3])] for row in rows]


def all_of(parts, rule: str = "joint", rows: tuple[int, ...] = tuple(range(12))) -> Calibration:
    chosen = list(rows)
    return calibrated(space("mini", "head2toe"), parts, rule, readouts(chosen), copies(chosen))


def naive_leverage(x: torch.Tensor, without: int | None) -> float:
    """psiᵀ (G + c I)⁻¹ psi with G summed over the images but one; c as for all of them."""
    psi = readouts([row for row in range(12) if row != without]).numpy()
    c = len(LABELS) / 2 * 1e-3 * 12  # K/2 mu n
    gram = psi.T @ psi + c * np.eye(psi.shape[1])
    return float(x.numpy() @ np.linalg.solve(gram, x.numpy()))


@pytest.mark.parametrize("rule", ["joint", "average"])
def test_usual_leverages_are_those_of_images_that_the_sums_lack(parts, rule):
    found = all_of(parts, rule).usual.numpy()
    expected = sorted(naive_leverage(row, at) for at, row in enumerate(readouts(list(range(12)))))
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_the_leverage_of_an_answer_is_that_under_all_images(parts):
    where = space("mini", "head2toe")
    lower = curvature(where, [component for component, _ in parts])
    new = where.readout(images(16, 5, seed=77))
    expected = [naive_leverage(row, None) for row in new]
    np.testing.assert_allclose(leverages(lower, new).numpy(), expected, rtol=1e-8)
    quick = Leverage(lower, where.device).of(new).numpy()
    np.testing.assert_allclose(quick, expected, rtol=1e-3)  # by products in float32


def test_novelty_is_the_share_of_training_images_that_are_less_new(parts):
    made = all_of(parts)
    seen = torch.tensor([0.0, float(made.usual[4]) + 1e-9, 1e9], dtype=torch.float64)
    assert made.novelty(seen).tolist() == [0, 5 / 12, 1]


def test_the_temperature_is_that_of_scores_left_out(parts):
    where, rows = space("mini", "head2toe"), list(range(12))
    labels, scores = scores_without(where, parts, "joint", readouts(rows), copies(rows))
    truth = torch.tensor([labels.index(LABELS[row % 3]) for row in rows])
    assert all_of(parts).temperature == fitted_temperature(scores, truth)


@pytest.mark.parametrize(
    ("rule", "weight", "times"), [("joint", 1.0, 1), ("joint", 2.0, 2), ("average", None, 1)]
)
def test_a_problem_has_its_penalty_chosen_once(tmp_path, monkeypatch, rule, weight, times):
    where, rows = space("mini", "head2toe"), list(range(6))
    pool = source(16, [LABELS[i % 3] for i in range(12)]).chosen(rows)
    parts = [(fitted(where, pool, tmp_path, l2="auto").component, weight)]
    _, expected = scores_without(where, parts, rule, readouts(rows), copies(rows))
    chosen, logs = [], LeftOutError.logs
    monkeypatch.setattr(LeftOutError, "logs", lambda *given: chosen.append(1) or logs(*given))
    made = calibrated(where, parts, rule, readouts(rows), copies(rows))
    truth = torch.tensor([row % 3 for row in rows])
    assert made.temperature == fitted_temperature(expected, truth)
    assert len(chosen) == times


def test_neither_order_nor_weight_zero_leaves_a_trace(parts, tmp_path):
    made = all_of(parts, rows=(0, 1, 2, 3, 4, 5, 6, 7))
    more = source(16, ["dog", "ant"], seed=5)
    other = fitted(space("mini", "head2toe"), more, tmp_path).component
    beside = all_of(
        [(part, 1.0) for part, _ in parts] + [(other, 0.0)], rows=(7, 6, 5, 4, 3, 2, 1, 0)
    )
    assert torch.equal(made.usual, beside.usual)
    assert made.temperature == pytest.approx(beside.temperature, rel=1e-12)
    assert beside.leverage is not None and made.leverage is not None
    psi = readouts([8])
    assert torch.equal(made.leverage.of(psi), beside.leverage.of(psi))


def test_a_selection_without_images_has_the_reason(parts):
    nothing = torch.zeros(0, 5)
    made = calibrated(space("mini", "head2toe"), parts, "joint", nothing, [])
    assert made.leverage is None and made.temperature is None
    assert made.no_novelty == made.no_temperature == NO_IMAGES


def test_at_blocks_novelty_is_that_of_the_heads_features(tmp_path):
    where = space("mini", "last-block")
    pool = source(16, [LABELS[i % 3] for i in range(6)])
    component = fitted(where, pool, tmp_path, max_iterations=3).component
    psi = torch.cat([where.push(where.rows(pool.pixels), [])[0]])
    rows = [[Copy(0, name)] for name in pool.labels]
    made = calibrated(where, [(component, None)], "average", psi, rows)
    c = len(LABELS) / 2 * float(component.hyperparameters["l2"]) * 6
    for at, x in enumerate(psi.numpy()):
        others = np.delete(psi.numpy(), at, axis=0)
        gram = others.T @ others + c * np.eye(len(x))
        expected = float(x @ np.linalg.solve(gram, x))
        assert np.abs(made.usual.numpy() / expected - 1).min() < 1e-6
    assert made.temperature is None
    assert made.no_temperature == "an image cannot be left out exactly at scope last-block"
