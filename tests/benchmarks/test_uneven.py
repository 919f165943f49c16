"""The measurement of even and uneven labels: what is drawn, and a cell of tiny pictures."""

import numpy as np
import pytest

from benchmarks.accuracy import uneven
from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.pictures import Pictures, handwritten_digits
from benchmarks.accuracy.uneven import (
    FIXED_JOINT,
    JOINT,
    LOGISTIC,
    METHODS,
    MIN_IMAGES,
    RIDGE,
    Cell,
    drawn,
    draws,
    penalty_gap,
    reached,
    record,
    rotated,
    sized,
    table,
)
from benchmarks.measured import uneven as page


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Three of the digits."""
    whole = handwritten_digits(40)
    parts = []
    for images, names in (whole.train, whole.test):
        kept = [i for i, name in enumerate(names) if name in "037"]
        parts.append(([images[i] for i in kept], [names[i] for i in kept]))
    return Gallery("resnet_micro_32", Pictures("digits", *parts))


@pytest.mark.parametrize("even", [True, False])
def test_a_draw_has_the_shares_of_its_kind(even):
    truth = np.repeat(np.arange(5), 100)
    one, other = (truth[drawn(truth, 100, even, seed)] for seed in (0, 1))
    counts = sorted(np.bincount(one).tolist(), reverse=True)
    assert counts == ([20] * 5 if even else [43, 26, 16, 9, 6])
    assert len(set(drawn(truth, 100, even, 0))) == 100
    assert even or np.bincount(one).tolist() != np.bincount(other).tolist()
    assert np.bincount(truth[drawn(truth, 6, False, 0)]).min() == MIN_IMAGES


def test_few_images_are_drawn_more_often_and_very_many_once():
    assert [draws(size, 3) for size in (50, 300, 1200, 50_000)] == [12, 12, 3, 1]


def test_a_size_for_which_a_label_has_too_few_images_is_left_out(gallery, monkeypatch):
    sizes = [cell.size for cell in sized(gallery, "head", [30, 100_000])]
    monkeypatch.setattr(uneven, "MANY", 60)
    found = [(cell.size, cell.even) for cell in sized(gallery, "head", [30, 75])]
    assert sizes == [30, 30]
    assert found == [(30, True), (30, False), (75, True)]


def test_turned_features_have_the_products_of_the_features():
    draw = np.random.default_rng(0)
    features, unseen = draw.normal(size=(5, 20)), draw.normal(size=(3, 20))
    turned, moved = rotated(features, unseen)
    assert turned.shape == (5, 5)
    assert np.allclose(turned @ turned.T, features @ features.T)
    assert np.allclose(moved @ turned.T, unseen @ features.T)
    assert rotated(unseen.T, features.T)[0] is not None


def test_a_cell_has_every_method_and_is_shown(gallery):
    cell = record(Cell(gallery, "head", 20, even=False), seeds=1)
    assert set(cell["own"]) == set(cell["balanced"]) == set(METHODS)
    assert all(0 <= value <= 100 for each in ("own", "balanced") for value in cell[each].values())
    assert cell["own"][JOINT] >= 70
    assert penalty_gap(cell) == cell["own"][JOINT] - max(cell["own"][RIDGE], cell["own"][LOGISTIC])
    shown = table([cell], "own")
    assert shown[1][:5] == ["digits", "resnet_micro_32", "head", "20", "uneven"]
    assert shown[1][5] == str(draws(20, 1)) == "4"
    (_, default, fixed, _) = reached([cell])
    assert f"worst {penalty_gap(cell):+.1f}" in default[2]
    assert f"worst {penalty_gap(cell, FIXED_JOINT):+.1f}" in fixed[2]
    text = page({"command": "c", "machine": "m", "records": [cell]})
    assert "`c` on m" in text
    assert f"| {cell['own'][JOINT]:.1f} |" in text
