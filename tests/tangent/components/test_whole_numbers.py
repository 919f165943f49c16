"""Whole numbers packed: the same numbers back, in few bits, by compiled loops and without them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangent.components import whole_numbers as packing
from tangent.components.whole_numbers import BLOCK, whole_numbers

LARGEST = 2**53 - 1
integers = st.integers(-LARGEST, LARGEST) | st.integers(-300, 300) | st.just(0)


@settings(deadline=None)
@given(values=st.lists(integers, max_size=200))
def test_the_same_numbers_come_back(values):
    packed = whole_numbers(torch.tensor(values, dtype=torch.float64))
    assert packed.numbers().tolist() == values


@pytest.mark.parametrize("compiled_from", [0, 10**9])
def test_compiled_loops_write_and_read_the_same_bits(compiled_from, monkeypatch):
    monkeypatch.setattr(packing, "COMPILED_FROM", compiled_from)
    generator = np.random.default_rng(0)
    sizes = generator.integers(0, 54, 1000)
    values = torch.from_numpy(np.rint(generator.uniform(-1, 1, 1000) * 2.0**sizes))
    packed = whole_numbers(values)
    assert torch.equal(packed.numbers(), values)
    # By hand: number j of a block takes its bits from bit j·w on, the lowest first.
    words, place = packed.words.numpy().view(np.uint64).tolist(), 0
    for number, width in enumerate(packed.widths.tolist()):
        stretch = sum(word << (64 * i) for i, word in enumerate(words[place : place + width]))
        place += width
        for j, value in enumerate(values[number * BLOCK : (number + 1) * BLOCK].tolist()):
            code = (stretch >> (j * width)) & ((1 << width) - 1)
            assert (code >> 1 if code % 2 == 0 else -(code >> 1) - 1) == value
    assert place == len(words)


def test_each_block_takes_as_many_bits_as_its_largest_number():
    values = torch.zeros(4 * BLOCK, dtype=torch.float64)
    values[BLOCK], values[2 * BLOCK + 5], values[3 * BLOCK] = 1, -LARGEST, -1
    packed = whole_numbers(values)
    assert packed.widths.tolist() == [0, 2, 54, 1, *[0] * 4]  # filled up to a word
    assert len(packed.words) == 57


@pytest.mark.parametrize("value", [0.5, 2.0**53, -(2.0**53), float("inf"), float("nan")])
def test_other_numbers_are_not_packed(value):
    assert whole_numbers(torch.tensor([1.0, value], dtype=torch.float64)) is None
