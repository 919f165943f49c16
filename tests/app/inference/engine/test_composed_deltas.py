"""Composed deltas are made once, kept within their bytes, and never outlive a deletion."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import tangent
from app.inference.engine.composed_deltas import ComposedDeltas, size_of
from app.inference.engine.metrics import EngineMetrics
from tangent.components.source import Source
from tests.support.models import space
from tests.support.random_components import components

SECONDS = 30
ONE, TWO = Source("one", "1" * 64), Source("two", "2" * 64)


class Files:
    """Components by their sources; counts the loads, and can hold them up."""

    def __init__(self, where: tangent.Space) -> None:
        self.parts = dict(zip((ONE, TWO), components(where.scope), strict=False))
        self.loads, self.begun, self.go = 0, threading.Event(), threading.Event()
        self.go.set()

    def load(self, source: Source) -> tangent.Component:
        self.loads += 1
        self.begun.set()
        assert self.go.wait(SECONDS)
        return self.parts[source]


@pytest.fixture
def where() -> tangent.Space:
    return space("mini", "last-block")


@pytest.fixture
def files(where: tangent.Space) -> Files:
    return Files(where)


@pytest.fixture
def deltas(files: Files) -> ComposedDeltas:
    return ComposedDeltas(files.load, 2**30, EngineMetrics())


def test_those_who_ask_at_the_same_time_share_one_composition(where, files, deltas):
    files.go.clear()
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(deltas.get, where, [(ONE, 0.5)], "weighted") for _ in range(4)]
        assert files.begun.wait(SECONDS)
        files.go.set()
        found = [each.result(SECONDS) for each in asked]
    assert files.loads == 1
    assert all(each is found[0] for each in found)


def test_a_kept_delta_is_given_while_another_is_composed(where, files, deltas):
    known = deltas.get(where, [(ONE, 0.5)], "weighted")
    files.go.clear()
    files.begun.clear()
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(deltas.get, where, [(TWO, 0.5)], "weighted")
        assert files.begun.wait(SECONDS)
        assert deltas.get(where, [(ONE, 0.5)], "weighted") is known
        files.go.set()
        slow.result(SECONDS)


def test_a_composition_that_a_deletion_overtakes_is_not_kept(where, files, deltas):
    files.go.clear()
    with ThreadPoolExecutor(2) as threads:
        asked = threads.submit(deltas.get, where, [(ONE, 0.5)], "weighted")
        assert files.begun.wait(SECONDS)
        threads.submit(deltas.forget, [ONE.sha256]).result(SECONDS)  # which waits for nothing
        files.go.set()
        first = asked.result(SECONDS)
    assert deltas.get(where, [(ONE, 0.5)], "weighted") is not first
    assert files.loads == 2


def test_what_is_composed_counts_as_held_until_a_deletion_overtakes_it(where, files, deltas):
    files.go.clear()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(deltas.get, where, [(ONE, 0.5)], "weighted")
        assert files.begun.wait(SECONDS)
        assert deltas.holds([ONE.sha256])
        assert not deltas.holds([TWO.sha256])
        deltas.clear()
        assert not deltas.holds([ONE.sha256])
        files.go.set()
        asked.result(SECONDS)
    assert not deltas.holds([ONE.sha256])


def test_the_bytes_bound_what_is_kept_and_the_longest_unused_goes_first(where, files):
    size = size_of(
        ComposedDeltas(files.load, 0, EngineMetrics()).get(where, [(ONE, 0.5)], "weighted")
    )
    deltas = ComposedDeltas(files.load, 2 * size, EngineMetrics())
    wanted = [[(ONE, weight)] for weight in (0.5, 0.6, 0.7)]
    first, second, third = (deltas.get(where, parts, "weighted") for parts in wanted)
    assert size_of(first) == size_of(second) == size_of(third) == size
    assert deltas.get(where, wanted[2], "weighted") is third
    assert deltas.get(where, wanted[1], "weighted") is second
    assert deltas.get(where, wanted[0], "weighted") is not first
    assert deltas.get(where, wanted[2], "weighted") is not third


def test_a_delta_larger_than_the_bound_is_given_and_not_kept(where, files):
    deltas = ComposedDeltas(files.load, 10, EngineMetrics())
    first = deltas.get(where, [(ONE, 0.5)], "weighted")
    again = deltas.get(where, [(ONE, 0.5)], "weighted")
    assert first is not again
    assert torch.equal(first.head, again.head)


def test_a_fault_of_the_files_reaches_all_who_asked_and_is_not_kept(where, files, deltas):
    part = files.parts.pop(ONE)
    with pytest.raises(KeyError, match="one"):
        deltas.get(where, [(ONE, 0.5)], "weighted")
    files.parts[ONE] = part
    assert deltas.get(where, [(ONE, 0.5)], "weighted").labels
