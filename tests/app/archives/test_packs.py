"""Packs whose images go: the places that none covers, and zeros in them."""

import pytest

from app.archives import packs
from app.archives.packs import Place


@pytest.mark.parametrize(
    ("covered", "size", "expected"),
    [
        ([], 0, []),
        ([], 5, [(0, 5)]),
        ([(0, 5)], 5, []),
        ([(1, 2)], 5, [(0, 1), (3, 2)]),
        ([(3, 2), (0, 1)], 5, [(1, 2)]),
        ([(0, 4), (0, 4), (1, 2)], 5, [(4, 1)]),
        ([(0, 0), (2, 0)], 3, [(0, 2), (2, 1)]),
    ],
)
def test_the_uncovered_stretches_are_what_no_place_reaches(covered, size, expected):
    found = packs.uncovered([Place(*each) for each in covered], size)

    assert found == [Place(*each) for each in expected]


def test_erasing_zeroes_the_places_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "CHUNK", 4)
    path = tmp_path / "pack"
    data = bytes(range(1, 41))
    path.write_bytes(data)
    places = [Place(3, 10), Place(38, 2)]
    assert packs.nonzero_bytes(path, places) == 12

    packs.erase(path, places)
    packs.erase(path, places)

    expected = data[:3] + bytes(10) + data[13:38] + bytes(2)
    assert path.read_bytes() == expected
    assert packs.nonzero_bytes(path, places) == 0
    assert packs.nonzero_bytes(path, [Place(0, 40)]) == 28
