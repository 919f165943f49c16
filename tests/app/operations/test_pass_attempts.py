"""An attempt at a pass waits for the engine, whatever the moment at which the answer comes."""

from concurrent.futures import Future
from threading import Event
from typing import Any

import pytest

from app.cli import api_server
from app.operations import pass_runner
from app.operations.pass_attempts import Attempt
from app.passes.queue import Held


class Late(Future[Any]):
    """An answer that comes just after a wait for it has ended."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._late = answer

    def result(self, timeout: float | None = None) -> Any:
        if self.done():
            return super().result(timeout)
        if isinstance(self._late, Exception):
            self.set_exception(self._late)
        else:
            self.set_result(self._late)
        raise TimeoutError


def awaited(answer: Any) -> Any:
    parts: Any = None
    return Attempt(parts, Held("evaluation", "ev_1", 1), Event())._awaited(Late(answer))


def test_an_answer_that_comes_as_the_wait_ends_is_taken() -> None:
    assert awaited("answer") == "answer"


def test_a_time_out_of_the_engine_is_an_error() -> None:
    with pytest.raises(TimeoutError, match="of the engine"):
        awaited(TimeoutError("of the engine"))


def test_what_is_computed_is_handed_back_before_the_process_ends_by_force() -> None:
    latest = api_server.GRACE_SECONDS + pass_runner.END_SECONDS
    assert latest <= api_server.END_SECONDS - 5
