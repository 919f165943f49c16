"""Calls between modules, traced in a small package and counted by hand."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from types import ModuleType

import pytest

from benchmarks.structure.calls import Calls, Trip
from tests.support.trees import write

CALLED = {
    "called/__init__.py": "",
    "called/front.py": """
        from called import back, rows

        def answer(numbers):
            back.check()
            return sorted(numbers, key=back.key), sum(rows.rows(numbers)), own()

        def own():
            return 0
        """,
    "called/back.py": """
        from called import rows

        def check():
            rows.count()

        def key(number):
            return -number
        """,
    "called/rows.py": """
        def count(): ...

        def rows(numbers):
            yield from numbers
        """,
}


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The first module of a package that calls the others."""
    write(tmp_path, CALLED)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("called.front")
    for name in [name for name in sys.modules if name.split(".")[0] == "called"]:
        del sys.modules[name]


def test_hops_are_the_calls_from_one_module_into_another(front, tmp_path):
    calls = Calls(tmp_path, ["called"])
    with calls.watching(), calls.recording():
        assert front.answer([1, 2]) == ([2, 1], 3, 0)
    # answer and own stay in front; check; count; key for each of two numbers; rows is entered and
    # then resumed after each of two numbers.
    assert calls.trip == Trip(modules=3, functions=6, hops=1 + 1 + 2 + 3)


def test_calls_of_threads_that_start_meanwhile_are_recorded_and_others_forgotten(front, tmp_path):
    calls = Calls(tmp_path, ["called"])
    with calls.watching():
        with calls.recording():
            front.answer([1, 2])
        front.own()
        with calls.recording():
            thread = Thread(target=front.back.check)
            thread.start()
            thread.join()
    assert calls.trip == Trip(modules=2, functions=2, hops=1)


def test_a_thread_that_works_without_a_request_is_left_out_and_others_are_not(front, tmp_path):
    calls, turns, done = Calls(tmp_path, ["called"]), Queue[bool](), Queue[bool]()

    def work() -> None:
        while turns.get():
            front.back.check()
            done.put(True)

    with calls.watching():
        thread = Thread(target=work)
        thread.start()
        with calls.resting():
            turns.put(True)
            done.get()
        with calls.recording():
            turns.put(True)
            done.get()
            front.own()
        turns.put(False)
        thread.join()
    assert calls.trip == Trip(modules=1, functions=1, hops=0)  # own alone


def test_packages_that_are_not_named_are_not_counted(front, tmp_path):
    calls = Calls(tmp_path, ["another"])
    with calls.watching(), calls.recording():
        front.answer([1, 2])
    assert calls.trip == Trip(0, 0, 0)


def test_the_hooks_are_put_back(tmp_path):
    before = sys.getprofile()
    with Calls(tmp_path, ["called"]).watching():
        assert sys.getprofile() != before
    assert sys.getprofile() == before
