"""Near duplicates are found as by comparing all pairs, at a cost that grows with their number."""

import io

import numpy as np
import pytest
from PIL import Image

from app.images.near_duplicates import NEAR, WINDOW, Pair, groups_of, nearest_pairs
from app.images.perceptual_hash import BITS, DIGITS, distance, perceptual_hash

rng = np.random.default_rng(7)


def drawn() -> str:
    """A hash of random bits."""
    return rng.bytes(BITS // 8).hex()


def changed(hash_: str, bits: int) -> str:
    """The hash with so many other bits."""
    number = int(hash_, 16)
    for place in rng.choice(BITS, bits, replace=False):
        number ^= 1 << int(place)
    return f"{number:0{DIGITS}x}"


@pytest.fixture(scope="module")
def hashes() -> list[str | None]:
    found: list[str | None] = [drawn() for _ in range(150)]
    for bits in range(NEAR + 5):
        found += [changed(drawn_, bits) for drawn_ in found[:10] if drawn_]
    return [*found, None, None, "0" * DIGITS]


def naive(hashes: list[str | None]) -> list[Pair]:
    return sorted(
        Pair(distance(a, b), one, other)
        for one, a in enumerate(hashes)
        for other, b in enumerate(hashes)
        if one < other and a is not None and b is not None and distance(a, b) <= NEAR
    )


def test_the_pairs_are_those_of_comparing_all(hashes):
    expected = naive(hashes)
    assert len(expected) > 50 and expected[-1].distance == NEAR
    found, places = nearest_pairs(hashes, 10**6)
    assert found == expected
    assert places == {place for pair in expected for place in pair[1:]}
    assert nearest_pairs(hashes, 3)[0] == expected[:3]


def test_pairs_across_two_sides(hashes):
    sides = [bool(place % 3) for place in range(len(hashes))]
    expected = [pair for pair in naive(hashes) if sides[pair.one] != sides[pair.other]]
    assert nearest_pairs(hashes, 10**6, sides)[0] == expected


def test_groups_are_what_pairs_and_given_entries_connect(hashes):
    given = ["a" if place in (0, 5, 149) else None for place in range(len(hashes))]
    first = list(range(len(hashes)))
    pairs = [(one, other) for _, one, other in naive(hashes)] + [(0, 5), (5, 149)]
    while any(first[one] != first[other] for one, other in pairs):
        for one, other in pairs:
            first[one] = first[other] = min(first[one], first[other])
    assert groups_of(hashes, [given]) == first
    assert len(set(groups_of(hashes))) > len(set(first))


def test_no_images_and_images_without_hashes_are_groups_of_their_own():
    assert groups_of([]) == [] and nearest_pairs([], 3) == ([], set())
    assert groups_of([None, None, "0" * DIGITS]) == [0, 1, 2]


def test_many_images_that_all_look_alike_cost_no_more_than_a_window_each():
    """All pairs of 50,000 would be a billion; a few more than WINDOW bands are compared."""
    same = "0" * (DIGITS - 1) + "f"
    assert set(groups_of([same] * 50_000)) == {0}
    pairs, places = nearest_pairs([same] * 50_000, 20)
    assert len(pairs) == 20 and len(places) == 50_000 and WINDOW < 100


def test_a_photograph_saved_again_is_near_and_another_one_is_not():
    shapes = np.random.default_rng(3).normal(0, 1, (2, 12, 12, 3))
    photos = [
        Image.fromarray(np.uint8(np.clip(128 + 40 * each, 0, 255))).resize((160, 120))
        for each in shapes
    ]
    file = io.BytesIO()
    photos[0].save(file, "JPEG", quality=60)
    again = Image.open(file).convert("RGB").resize((80, 60))
    assert groups_of([perceptual_hash(each) for each in (*photos, again)]) == [0, 1, 0]
