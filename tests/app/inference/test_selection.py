"""What follows from a selection is computed once for it, and goes with it."""

import asyncio
import gc
from dataclasses import replace
from itertools import count
from unittest.mock import Mock
from weakref import ref

import pytest

from app.database.tables import Component, Space
from app.errors import Busy
from app.inference import selection
from app.inference.selection import contents, once_for_each, selection_fields, served_parts
from app.store.compositions import Selection
from tangent.components.source import Source


def selection_of(*weighted: tuple[str, float | None]) -> Selection:
    space = Space(name="default", scope="head", fingerprint="f")
    members = [
        (Component(id=name, blob_key=f"{name}/a", sha256=f"of {name}", labels={"b": 1, "a": 2}), w)
        for name, w in weighted
    ]
    return Selection(space, "weighted", members, None, None, [], [])


def test_a_function_of_a_selection_is_called_once_for_it():
    called = []
    once = once_for_each(lambda selection: called.append(selection) or len(called))
    one, other = selection_of(("red", 1.0)), selection_of(("red", 1.0))
    assert [once(one), once(one), once(other), once(one)] == [1, 1, 2, 1]


def test_nothing_that_was_kept_for_a_selection_outlives_it():
    gone = selection_of(("red", 1.0))
    contents(gone), selection_fields(gone), served_parts(gone)
    watch = ref(gone)
    del gone
    gc.collect()
    assert watch() is None


def test_a_selection_that_serves_something_else_has_parts_of_its_own():
    one = selection_of(("red", 1.0))
    assert served_parts(one) == ((Source("red/a", "of red"), 1.0),)
    refined = Component(id="fine", blob_key="fine/a", sha256="of fine", status="ready")
    served = replace(one, rule="joint", refinement=refined)
    assert served_parts(served) == ((Source("fine/a", "of fine"), 1.0),)
    assert contents(served) == ["of red", "of fine"]
    assert contents(one) == ["of red"]


def test_labelled_fields_leave_the_kept_ones_as_they_are():
    one = selection_of(("red", None), ("blue", 2.0))
    plain = selection_fields(one)
    labelled = selection_fields(one, labelled=True)
    assert [each["labels"] for each in labelled["components"]] == [["a", "b"], ["a", "b"]]
    assert selection_fields(one) == plain
    assert [each["weight"] for each in plain["components"]] == [1.0, 2.0]


def test_what_is_busy_is_not_asked_again_though_others_delete(monkeypatch):
    epochs, asked = count(), []

    async def read(*_):
        return next(epochs), one

    async def work(_):
        asked.append(1)
        raise Busy("decoding_busy", "others are decoded first")

    async def call(function):
        return function()

    one = selection_of(("red", 1.0))
    monkeypatch.setattr(selection, "_read", read)
    parts = Mock(engine=Mock(respects=lambda _: True))
    with pytest.raises(Busy, match="others are decoded first"):
        asyncio.run(selection.read_as_of_now(parts, Mock(), work, ticket=Mock(), call=call))
    assert asked == [1]
