"""The passes of predictions, held back until a test lets them go."""

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from app.inference.engine.engine import Engine

SECONDS = 60.0


class HeldPasses:
    """Every pass that an engine of this process begins, until the test ends; none ends before `go`.

    `begun` has the model of each. What an engine answers for want of a calibration is no pass.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[Any] = []
        self.go = threading.Event()
        begin = Engine.begin

        def held(engine: Engine, *given: Any, **more: Any) -> Future[Any]:
            judge = more.get("judged_as")
            if judge is not None and engine._calibrations.get(judge) is None:
                return begin(engine, *given, **more)
            self.begun.append(given[0])
            passed: Future[Any] = Future()
            threading.Thread(
                target=self._run, args=(passed, begin, engine, *given), kwargs=more
            ).start()
            return passed

        monkeypatch.setattr(Engine, "begin", held)

    def wait_for_one(self) -> None:
        """Wait until a pass has begun."""
        self.wait_for(1)

    def wait_for(self, number: int) -> None:
        """Wait until so many passes have begun."""
        end = time.monotonic() + SECONDS
        while len(self.begun) < number:
            assert time.monotonic() < end
            time.sleep(0.01)

    def _run(self, passed: Future[Any], begin: Any, *given: Any, **more: Any) -> None:
        assert self.go.wait(SECONDS)
        if not passed.set_running_or_notify_cancel():
            return
        try:
            passed.set_result(begin(*given, **more).result(SECONDS))
        except Exception as error:
            passed.set_exception(error)
