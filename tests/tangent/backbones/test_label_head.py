"""The label head's rows, against numbers computed from the definition with hashlib alone."""

import hashlib
from fractions import Fraction

import pytest
import torch

from tangent.backbones.label_head import head_rows

WIDTH = 16


def entry(fingerprint: str, label: str, width: int, index: int) -> float:
    """One entry by exact arithmetic: 53 bits of the SHAKE stream as a number in ±1/sqrt(width)."""
    stream = hashlib.shake_256(f"head {fingerprint} {label}".encode()).digest(8 * (index + 1))
    word = int.from_bytes(stream[8 * index :], "little") >> 11
    return float(2 * Fraction(word, 2**53) - 1) / width**0.5


@pytest.mark.parametrize("label", ["cat", "dog", "", "größer ☃", "a b"])
def test_rows_are_what_the_definition_says(label):
    row = head_rows("f1", ["x", label], WIDTH)[1]
    expected = [entry("f1", label, WIDTH, i) for i in range(WIDTH + 1)]
    assert row.tolist() == pytest.approx(expected, rel=1e-15)


def test_a_pinned_row_never_changes():
    row = head_rows("0" * 64, ["cat"], 4)[0].tolist()
    assert row == [
        -0.03822651682365574,
        0.27715328486537594,
        -0.03847343824880223,
        -0.1189282689747968,
        -0.008253414163224337,
    ]


def test_rows_fill_the_range_of_a_fresh_linear_layer():
    rows = head_rows("f", [str(i) for i in range(400)], WIDTH)
    bound = 1 / WIDTH**0.5
    assert rows.dtype == torch.float64
    assert rows.abs().max() <= bound
    assert rows.max() > 0.99 * bound and rows.min() < -0.99 * bound
    deviation = bound / 3**0.5
    assert abs(rows.mean()) < 4 * deviation / rows.numel() ** 0.5
    assert rows.std().item() == pytest.approx(deviation, rel=0.02)


def test_a_row_depends_on_its_label_and_the_backbone_alone():
    alone = head_rows("f", ["b"], WIDTH)
    among = head_rows("f", ["a", "b", "c"], WIDTH)
    assert torch.equal(alone[0], among[1])
    assert torch.equal(among.flip(0), head_rows("f", ["c", "b", "a"], WIDTH))
    assert not torch.equal(alone, head_rows("g", ["b"], WIDTH))
    assert len({tuple(row) for row in among.tolist()}) == 3


def test_no_row_is_zero_so_the_backbones_tangent_always_counts():
    assert head_rows("f", ["a", "b"], WIDTH).abs().min() > 0
