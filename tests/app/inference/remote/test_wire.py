"""Messages give back what was put in, and nothing in one can name anything else."""

from collections import OrderedDict
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import NotReady, TooManyRequests
from app.files.component_files import DamagedFile
from app.inference.models import Attributed, Logits, Model, SpaceKey
from app.inference.remote.wire import READERS, EngineFault, error_of, packed, told, unpacked
from app.store.spaces import SpaceUnavailable
from tangent.components.source import Source
from tangent.errors import BadComponent

NUMBERS = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)
PLAIN = st.none() | st.booleans() | NUMBERS | st.text() | st.builds(Path, st.just("/a/b"))
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
)


def through(value):
    """Send the value as a socket would: as bytes."""
    return unpacked([bytes(frame) for frame in packed(value)])


@given(VALUES)
def test_plain_values_come_back_as_they_were(value):
    found = through(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_arrays_come_back_to_the_bit(dtype):
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 4)).astype(dtype)[:, ::2]
    found = through([array, array[:0]])
    assert found[0].dtype == array.dtype
    np.testing.assert_array_equal(found[0], array)
    assert found[1].shape == (0, 3, 4)


def test_the_values_of_models_come_back_as_their_own_kind():
    key = SpaceKey("resnet", "head", ("a", "b"), "float32")
    model = Model(key, ((Source("a/b", "12"), None), (Source("c", "34"), 0.5)), "weighted")
    assert through(model) == model
    assert type(through(model).parts[0][0]) is Source
    base = Logits(("a",), np.zeros((1, 1), np.float32))
    found = through(Attributed(base, [base.logits], [None, base]))
    assert found.rests[0] is None
    assert found.rests[1].labels == ("a",)


def test_what_a_message_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="cannot hold object"):
        packed([object()])


def test_a_message_names_no_class_but_those_of_the_list():
    other = max(READERS) + 1
    with pytest.raises(KeyError, match=str(other)):
        unpacked([msgpack.packb({msgpack.ExtType(other, b""): ["true"]})])


@pytest.mark.parametrize("value", [np.float64(0.1), np.str_("a"), OrderedDict(a=[1])])
def test_kinds_of_plain_values_come_back_as_plain_ones(value):
    assert through([value, {"a": value}]) == [value, {"a": value}]


def test_text_that_is_no_unicode_comes_back_as_it_was():
    assert through({"path": Path("/a/\udcff"), "\udcff": "\ud800"}) == {
        "path": Path("/a/\udcff"),
        "\udcff": "\ud800",
    }


@pytest.mark.parametrize(
    "error",
    [
        TooManyRequests("queue_full", "too many wait", retry_after=1),
        DamagedFile("components/cmp_1/a", "12", "is missing"),
        BadComponent("it is none"),
        MemoryError("no room"),
    ],
)
def test_an_error_comes_back_as_itself(error):
    found = error_of(through(told(error)))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert getattr(found, "extra", None) == getattr(error, "extra", None)
    assert getattr(found, "code", None) == getattr(error, "code", None)


def test_a_problem_of_a_narrower_kind_comes_back_as_the_kind_that_clients_see():
    found = error_of(through(told(SpaceUnavailable("space_changed", "it is another"))))
    assert type(found) is NotReady
    assert found.code == "space_changed"


def test_any_other_error_is_a_fault_of_the_service_and_names_itself():
    found = error_of(through(told(ZeroDivisionError("by zero"))))
    assert isinstance(found, EngineFault)
    assert str(found) == "ZeroDivisionError: by zero"
