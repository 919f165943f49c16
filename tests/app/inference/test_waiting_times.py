"""A prediction waits two minutes for each answer of the engine; other work may take longer."""

from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from app.errors import NotReady
from app.inference.models import Model, SpaceKey
from app.inference.remote.remote_engine import WORK_SECONDS, RemoteEngine
from app.inference.waiting_times import bounded, waiting_at_most
from app.operations.prediction import ENGINE_SECONDS, STEPS, Work

KEY = SpaceKey("mini", "head", (), "float32")
MODEL = Model(KEY, (), "average")
PIXELS = [np.zeros((2, 2, 3), np.uint8)]
CALLS: dict[str, tuple[Any, ...]] = {
    "compose": (MODEL,),
    "attribution": (MODEL, PIXELS),
    "effects": (KEY, [], PIXELS, ()),
    "readouts": (KEY, PIXELS),
    "calibrate": (MODEL, PIXELS[0], []),
    "calibrate_again": (MODEL,),
    "named_temperature": (MODEL, "name"),
    "fit_temperature": (MODEL, "name", PIXELS[0], [], 0),
}


class Silent(RemoteEngine):
    """An engine whose process answers nothing."""

    def __init__(self) -> None:
        self.sent: list[Future[Any]] = []

    def _call(self, name: str, *given: Any, **named: Any) -> "Future[Any]":
        self.sent.append(Future())
        return self.sent[-1]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_waits_no_longer_than_its_caller(name: str):
    engine = Silent()
    with (
        waiting_at_most(0.02),
        pytest.raises(NotReady, match=r"has not answered within 0\.02 s") as caught,
    ):
        getattr(engine, name)(*CALLS[name])
    assert caught.value.code == "engine_late"
    assert engine.sent[0].cancelled()  # so that the engine need not begin it


def test_the_bound_ends_with_its_block_and_makes_no_call_wait_longer():
    with waiting_at_most(120.0):
        assert bounded(WORK_SECONDS) == 120.0
        assert bounded(5.0) == 5.0
    assert bounded(WORK_SECONDS) == WORK_SECONDS


def test_every_step_of_a_prediction_is_bounded():
    work = Work.__new__(Work)
    work.seconds = dict.fromkeys(STEPS, 0.0)
    assert work._timed("calibrate", bounded, WORK_SECONDS) == ENGINE_SECONDS


def test_a_deletion_elsewhere_makes_no_prediction_wait_for_longer(monkeypatch):
    engine = Silent()
    engine._respected = None
    monkeypatch.setattr("app.inference.remote.remote_engine.ANSWER_SECONDS", 0.02)
    with pytest.raises(NotReady, match=r"has not answered within 0\.02 s"):
        engine.respect(1)
