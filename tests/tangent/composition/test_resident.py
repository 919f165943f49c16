"""Composing on a device: the processor's bytes, from components that stay there until they go."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tangent.composition import delta_sum, device_sum, exact_sum, incremental, resident
from tangent.composition.incremental import GUESTS, IncrementalComposition
from tangent.composition.resident import SHARE, ResidentComponents
from tangent.errors import Overflow
from tests.support.models import delta_bytes, space
from tests.support.random_components import components
from tests.support.saved_components import HeldUpComponents, SavedComponents

DEVICE = torch.device("cpu", 0)  # is not HOST, so it is composed on as a device is
SCOPE = "last-block"
SECONDS = 30
SIZE = sum(value.nbytes for value in components(SCOPE)[0].backbone.values())


@pytest.fixture(autouse=True)
def summed_on_the_device(monkeypatch):
    """Sum on DEVICE, whose tensors a processor holds, so that all runs here."""
    monkeypatch.setattr(incremental, "summing_device", lambda *_: DEVICE)
    monkeypatch.setattr(delta_sum, "summing_device", lambda device, _: device)
    monkeypatch.setattr(exact_sum, "pass_on", lambda *_: device_sum.change)


def composing(files: SavedComponents, most_bytes: int = 100 * SIZE) -> IncrementalComposition:
    return IncrementalComposition(files.load, ResidentComponents(most_bytes))


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    history=st.lists(
        st.tuples(
            st.lists(st.integers(0, 3), min_size=1, max_size=6),
            st.sampled_from(["average", "weighted"]),
            st.sets(st.integers(0, 3), max_size=1),
        ),
        min_size=2,
        max_size=6,
    ),
    room=st.integers(0, 4),
)
def test_any_history_and_any_room_give_the_processor_s_bytes(history, room, tmp_path):
    files = SavedComponents(SCOPE, tmp_path, torch.float64)
    composer = composing(files, room * SIZE)
    for chosen, rule, forgotten in history:
        composer.forget({files.sources[i].sha256 for i in forgotten})
        assert not composer.holds({files.sources[i].sha256 for i in forgotten})
        delta = composer.compose(space("mini", SCOPE), files.parts(chosen, rule), rule)
        assert delta_bytes(delta) == files.fresh(chosen, rule)
        assert composer._resident.nbytes <= room * SIZE


def test_a_component_is_read_once_and_its_removal_reads_no_file(tmp_path):
    files, where = SavedComponents(SCOPE, tmp_path, torch.float64), space("mini", SCOPE)
    composer = composing(files)
    composer.compose(where, files.parts([0, 1, 2, 3]), "average")
    assert files.read == ["0", "1", "2", "3"]
    for chosen in ([0, 1, 2], [0, 1, 2, 3], [3, 2], [1], [0, 0, 1, 3]):
        delta = composer.compose(where, files.parts(chosen), "average")
        assert delta_bytes(delta) == files.fresh(chosen)
    assert len(files.read) == 4


def test_no_file_stays_mapped_by_what_is_resident(tmp_path):
    files = SavedComponents(SCOPE, tmp_path, torch.float64)
    composer = composing(files)
    composer.compose(space("mini", SCOPE), files.parts([0, 1, 2]), "average")
    assert composer._resident.nbytes == 3 * SIZE
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("way", ["forget", "clear"])
def test_what_leaves_the_device_is_overwritten_and_no_longer_held(way, tmp_path):
    files = SavedComponents(SCOPE, tmp_path, torch.float64)
    composer = composing(files)
    composer.compose(space("mini", SCOPE), files.parts([0, 1]), "average")
    sha = files.sources[1].sha256
    values = list(composer._resident.get(sha).backbone.values())
    assert composer.holds([sha])
    composer.forget([sha]) if way == "forget" else composer.clear()
    assert not composer.holds([sha])
    assert not any(value.any() for value in values)
    assert composer.holds([files.sources[0].sha256]) == (way == "forget")


def test_the_oldest_make_room_but_none_that_the_same_sum_needs(tmp_path):
    files, where = SavedComponents(SCOPE, tmp_path, torch.float64), space("mini", SCOPE)
    composer = composing(files, 3 * SIZE)
    composer.compose(where, files.parts([0, 1]), "average")
    composer.compose(where, files.parts([1, 2]), "average")
    composer.compose(where, files.parts([2, 3]), "average")
    held, there = [files.sources[i].sha256 for i in range(4)], composer._resident.holds
    assert [there([sha]) for sha in held] == [False, True, True, True]
    delta = composer.compose(where, files.parts([0, 1, 2, 3]), "average")
    assert delta_bytes(delta) == files.fresh([0, 1, 2, 3])
    assert [there([sha]) for sha in held] == [False, True, True, True]


def test_parts_without_room_come_a_few_at_a_time(tmp_path, monkeypatch):
    files, runs = SavedComponents(SCOPE, tmp_path, torch.float64), []
    change = delta_sum.DeltaSum.change

    def counted(self, added, removed=(), **divided):
        runs.append(len(added))
        return change(self, added, removed, **divided)

    monkeypatch.setattr(delta_sum.DeltaSum, "change", counted)
    chosen = [0, 1, 2, 3, 0, 1, 2, 3, 0]
    delta = composing(files, 0).compose(space("mini", SCOPE), files.parts(chosen), "average")
    assert runs == [GUESTS, GUESTS, 1]
    monkeypatch.undo()
    assert delta_bytes(delta) == files.fresh(chosen)


def test_nothing_is_overwritten_on_the_device_while_a_composition_reads_it(tmp_path):
    files, where = HeldUpComponents(SCOPE, tmp_path, torch.float64), space("mini", SCOPE)
    incremental = composing(files)
    incremental.compose(where, files.parts([0, 1, 2]), "average")
    gone = [files.sources[1].sha256]
    files.hold_up("3")
    with ThreadPoolExecutor(2) as threads:
        asked = threads.submit(incremental.compose, where, files.parts([0, 1, 3]), "average")
        try:
            assert files.begun.wait(SECONDS)
            forgetting = threads.submit(incremental.forget, gone)
            assert not wait([forgetting], timeout=0.2).done
        finally:
            files.go.set()
        assert delta_bytes(asked.result(SECONDS)) == files.fresh([0, 1, 3])
        forgetting.result(SECONDS)
    assert not incremental.holds(gone)


def test_without_memory_on_the_device_the_processor_composes_and_this_is_told(
    tmp_path, monkeypatch, caplog
):
    files = SavedComponents(SCOPE, tmp_path, torch.float64)
    composer = composing(files)
    composer.compose(space("mini", SCOPE), files.parts([0, 1]), "average")

    def full(*_args, **_keywords):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(exact_sum, "pass_on", lambda *_: full)
    for chosen in ([0, 1, 2], [0, 1]):
        delta = composer.compose(space("mini", SCOPE), files.parts(chosen), "average")
        assert delta_bytes(delta) == files.fresh(chosen)
    assert not composer.holds([source.sha256 for source in files.sources[3:]])
    assert "composing on the processor: cpu:0 has no memory left" in caplog.text


def test_an_error_on_the_device_leaves_nothing_half_changed(tmp_path):
    files, where = SavedComponents(SCOPE, tmp_path, torch.float64), space("mini", SCOPE)
    composer = composing(files)
    composer.compose(where, files.parts([0, 1, 2]), "average")
    broken = {k: v * float("nan") for k, v in components(SCOPE)[3].backbone.items()}
    files.add(dataclasses.replace(components(SCOPE)[3], backbone=broken), "nan")
    with pytest.raises(Overflow, match="NaN or Inf"):
        composer.compose(where, [*files.parts([0, 1, 2]), (files.sources[-1], None)], "average")
    delta = composer.compose(where, files.parts([0, 1, 2]), "average")
    assert delta_bytes(delta) == files.fresh([0, 1, 2])


def test_a_share_of_the_free_memory_is_taken_and_nothing_where_none_is_told(monkeypatch):
    component = components(SCOPE)[0]
    asked = []

    class Memory:
        @staticmethod
        def mem_get_info(device):
            asked.append(device)
            return SHARE * SIZE, 100 * SIZE

    assert ResidentComponents().placed("a", component, torch.device("cpu"), []) is component
    monkeypatch.setattr(resident.torch, "get_device_module", lambda _: Memory)
    held = ResidentComponents()
    assert held.placed("a", component, DEVICE, []) is not component
    assert held.placed("b", component, DEVICE, ["a"]) is component
    assert held.placed("b", component, DEVICE, []) is not component
    assert held.nbytes == SIZE and not held.holds(["a"])
    assert asked == [DEVICE]


def test_statistics_are_read_from_files_and_never_resident(tmp_path):
    files, where = SavedComponents(SCOPE, tmp_path, torch.float64), space("mini", SCOPE)
    composer = composing(files)
    composer.compose(where, files.parts([0, 1, 2]), "average")
    assert composer._resident.get(files.sources[0].sha256).statistics is None
    delta = composer.compose(where, files.parts([0, 1, 2], "joint"), "joint")
    assert delta_bytes(delta) == files.fresh([0, 1, 2], "joint")
