"""Requests about privacy do their slow preparations before the lock that all writers wait for."""

import sys

import pytest

from app.database.sessions import hold_write_lock
from app.datasets import privacy_accounting
from app.operations import privacy, training
from tests.support.service import Service

TERMS = {"epsilon": 1.0, "delta": 1e-5}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A list that gets at each write lock whether the accountant, unloaded now, is loaded."""
    found: list[bool] = []
    for name in [each for each in sys.modules if each.partition(".")[0] == "dp_accounting"]:
        monkeypatch.delitem(sys.modules, name)

    def hold(session) -> None:
        found.append(privacy_accounting.LIBRARY in sys.modules)
        hold_write_lock(session)

    for module in (training, privacy):
        monkeypatch.setattr(module, "hold_write_lock", hold)
    return found


def test_a_private_training_loads_the_accountant_before_the_lock(either: Service, held: list[bool]):
    body = {"dataset_id": either.dataset({"cat": 3, "dog": 3}), "privacy": TERMS}
    assert either.client.post("/v1/components", json=body).status_code == 202
    assert held == [True]


def test_a_budget_loads_the_accountant_before_the_lock(either: Service, held: list[bool]):
    dataset_id = either.dataset({"cat": 3, "dog": 3})
    answer = either.client.put(f"/v1/datasets/{dataset_id}/privacy", json=TERMS)
    assert answer.status_code == 200
    assert held == [True]
