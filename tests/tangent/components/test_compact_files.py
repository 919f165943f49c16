"""A component's file with its sums in whole units of the features' grid."""

import dataclasses

import pytest
import torch

from tangent import errors
from tangent.components.component import GRAM, HEAD, SUMS, WIDTHS
from tests.support.component_files import load, parts, plain, written
from tests.support.models import trained

COMPACT = {
    "no widths": ({}, {WIDTHS: None}, "statistics.gram must hold the 45 entries of a triangle"),
    "a width too few": ({}, {WIDTHS: torch.zeros(0, dtype=torch.uint8)}, "must be 8 bytes"),
    "a width of no block": ({}, {WIDTHS: torch.arange(8).byte()}, "after block 1 must be 0"),
    "too wide": (
        {},
        {WIDTHS: torch.tensor([55, *[0] * 7], dtype=torch.uint8)},
        "have at most 54 bits",
    ),
    "widths of floats": ({}, {WIDTHS: torch.zeros(8)}, "must be 8 bytes"),
    "words missing": ({}, {GRAM: torch.zeros(1, dtype=torch.int64)}, "take .* words, not 1"),
    "words of floats": ({}, {GRAM: torch.zeros(45)}, "must be 64 bit integers"),
    "words in a square": ({}, {GRAM: torch.zeros(2, 2, dtype=torch.int64)}, "must be 64 bit integ"),
    "no grid": ({"format": 2, "grid": None}, {}, "statistics.widths needs a grid"),
    "a grid in format 2": ({"format": 2}, {}, "has format 2, this version reads 2, and 3 with a"),
    "format 3 without": ({"grid": None}, {}, "has format 3, this version reads 2, and 3 with a"),
    "no runs": ({"grid": []}, {}, "not a list of runs"),
    "text": ({"grid": "8"}, {}, "not a list of runs"),
    "a run of three": ({"grid": [[9, -8, 1]]}, {}, "a run that is not a number of features"),
    "half a step": ({"grid": [[9, -8.5]]}, {}, "a run that is not a number of features"),
    "true": ({"grid": [[9, True]]}, {}, "a run that is not a number of features"),
    "a huge step": ({"grid": [[9, 10**6]]}, {}, "an exponent from -200 to 200"),
    "a feature too many": ({"grid": [[8, -8], [2, -8]]}, {}, "not of the 9 features of its head"),
    "a run below 0": ({"grid": [[9, -8], [-1, -8]]}, {}, "a run that is not a number of features"),
}


@pytest.mark.parametrize(("about", "change", "sentence"), COMPACT.values(), ids=COMPACT)
def test_wrong_whole_units_are_refused_with_their_reason(about, change, sentence, tmp_path):
    found, tensors = parts(trained("head"), tmp_path)
    fields = {key: value for key, value in (found | about).items() if value is not None}
    changed = {key: value for key, value in (tensors | change).items() if value is not None}
    with pytest.raises(errors.BadComponent, match=sentence):
        load(written(fields, changed), tmp_path)


def test_sums_in_whole_units_are_those_in_float64_in_fewer_bytes(tmp_path):
    folders = [tmp_path / "compact", tmp_path / "plain"]
    made = trained("head2toe"), plain("head2toe")
    for folder in folders:
        folder.mkdir()
    one, other = (load(c.to_bytes(), at) for c, at in zip(made, folders, strict=True))
    assert torch.equal(one.statistics.packed, other.statistics.packed)
    assert torch.equal(one.statistics.gram, other.statistics.gram)
    sizes = [parts(c, tmp_path)[1][GRAM].nbytes for c in (one, other)]
    assert sizes[0] < 0.45 * sizes[1]
    about, tensors = parts(one, tmp_path)
    assert about["format"] == 3 and sum(count for count, _ in about["grid"]) == one.head.shape[1]
    assert set(tensors) == {HEAD, GRAM, SUMS, WIDTHS}


def test_every_tensor_is_of_whole_words_of_64_bits(tmp_path):
    """A tool that casts all tensors as if they were float64 ends in our refusal, not in its own."""
    _, tensors = parts(trained("head"), tmp_path)
    assert {each.nbytes % 8 for each in tensors.values()} == {0}


def test_sums_off_the_grid_stay_in_float64(tmp_path):
    """Three views of an image are no power of two: a third of their sum is no whole number."""
    third = dataclasses.replace(trained("head").statistics, triangle=torch.ones(45).double() / 3)
    made = dataclasses.replace(trained("head"), statistics=third)
    assert parts(made, tmp_path)[1][GRAM].dtype == torch.float64
    found = load(made.to_bytes(), tmp_path)
    assert torch.equal(found.statistics.packed, third.packed) and found.grid == made.grid
    assert found.to_bytes() == made.to_bytes()
