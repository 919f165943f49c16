"""The figures of the concepts are drawn by their scripts, from numbers that are what they say."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from documentation.figures import histories, ledger, toy
from documentation.figures.__main__ import DRAWN, FOLDER


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_as_its_script_draws_it(name: str):
    drawn = DRAWN[name]()
    assert (FOLDER / f"{name}.svg").read_text() == drawn, "draw it again: make figures"
    assert ElementTree.fromstring(drawn).find("{*}title").text
    assert len(drawn) < 40_000


def test_every_figure_of_the_folder_has_a_script():
    assert {path.stem for path in FOLDER.iterdir()} == set(DRAWN)


def test_joint_in_the_figure_is_the_ridge_regression_of_all_points():
    held = [toy.sums("".join(party)) for party in toy.PARTIES]
    joint = toy.solved(held[0] + held[1] + held[2])
    asked = [(label, point) for label in toy.LABELS for point in toy.points(label)]
    psi = np.array([toy.features(point) for _, point in asked]) * toy.UNIT
    targets = np.array([[label == name for name in toy.LABELS] for label, _ in asked]) * toy.TARGET
    expected = np.linalg.solve(psi.T @ psi + toy.PENALTY * np.eye(psi.shape[1]), psi.T @ targets)
    found = np.array([joint[name] for name in toy.LABELS]).T
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_the_average_in_the_figure_loses_and_joint_does_not():
    held = [toy.sums("".join(party)) for party in toy.PARTIES]
    average = toy.average([toy.solved(each) for each in held])
    assert toy.accuracy(average) < 0.6
    assert toy.accuracy(toy.solved(held[0] + held[1] + held[2])) == 1.0


def test_both_histories_in_the_figure_have_the_same_sums_and_others_have_not():
    first, second = (histories.digest(steps) for _, steps in histories.ROWS)
    assert first == second
    assert histories.digest(("+ party 1", "+ party 2", "+ party 3")) != first


def test_each_receipt_in_the_figure_has_another_hash():
    assert len(set(ledger.chained())) == len(ledger.SUBJECTS)
