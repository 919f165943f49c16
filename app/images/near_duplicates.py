"""Near duplicates: images of one set whose perceptual hashes differ in few bits.

Two hashes of 144 bits with at most NEAR different ones agree in at least one of NEAR + 1 bands of
18 bits. So the images are sorted by each band, and only neighbours with the same band are compared,
WINDOW of them at most: a set of n images costs no more than n · (NEAR + 1) · WINDOW comparisons,
however much its images look alike. Only where more than WINDOW images share a band, as small
drawings do, a pair may be missed; their hashes are sorted too, so the nearest are seldom.
"""

from collections.abc import Hashable, Iterator, Sequence
from heapq import nsmallest
from typing import NamedTuple

import numpy as np

from app.images.perceptual_hash import BITS

NEAR = 7  # bits; saved again, halved or brighter a photograph differs in fewer, another one in more
BANDS = NEAR + 1
WINDOW = 64  # neighbours that an image is compared with in a band
Numbers = np.ndarray


class Pair(NamedTuple):
    """Two images by their places, the first one first."""

    distance: int
    one: int
    other: int


class Groups:
    """Places 0 … n - 1 in groups, each known by its first place."""

    def __init__(self, count: int) -> None:
        self._first = np.arange(count)

    def join(self, ones: Numbers, others: Numbers) -> None:
        """Put these pairs of places into one group each."""
        while True:
            one, other = self._first[ones], self._first[others]
            apart = one != other
            if not apart.any():
                return
            low, high = np.minimum(one[apart], other[apart]), np.maximum(one[apart], other[apart])
            np.minimum.at(self._first, high, low)
            self._shorten()

    def _shorten(self) -> None:
        while not np.array_equal(shorter := self._first[self._first], self._first):
            self._first = shorter

    def firsts(self) -> list[int]:
        """Return the first place of the group of each."""
        found: list[int] = self._first.tolist()
        return found


def groups_of(
    hashes: Sequence[str | None], alike: Sequence[Sequence[Hashable | None]] = ()
) -> list[int]:
    """Return the group of each image, by the place of its first one.

    Images share a group if they are near duplicates, or have the same entry in one of the lists
    `alike`, or do so by way of others. A tuple there is several entries of one image.
    """
    groups = Groups(len(hashes))
    for entries in alike:
        first: dict[Hashable, int] = {}
        pairs = [
            (first.setdefault(entry, place), place)
            for place, given in enumerate(entries)
            for entry in (given if isinstance(given, tuple) else (given,))
            if entry is not None
        ]
        if pairs:
            groups.join(*np.array(pairs).T)
    for ones, others, _ in _near(hashes):
        groups.join(ones, others)
    return groups.firsts()


def nearest_pairs(
    hashes: Sequence[str | None], limit: int, sides: Sequence[bool] | None = None
) -> tuple[list[Pair], set[int]]:
    """Return the nearest pairs, and the places of all images that are in one.

    With `sides`, only pairs of one image from either side count.
    """
    found: list[Pair] = []
    of = np.zeros(len(hashes), bool)
    side = None if sides is None else np.array(sides, bool)
    for ones, others, distances in _near(hashes):
        if side is not None:
            across = side[ones] != side[others]
            ones, others, distances = ones[across], others[across], distances[across]
        of[ones] = of[others] = True
        some = np.lexsort((np.maximum(ones, others), np.minimum(ones, others), distances))[:limit]
        pairs = zip(distances[some], ones[some], others[some], strict=True)
        new = {Pair(int(d), int(min(a, b)), int(max(a, b))) for d, a, b in pairs}
        found = nsmallest(limit, new.union(found))
    return found, {int(place) for place in np.flatnonzero(of)}


def _near(hashes: Sequence[str | None]) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """Yield places of near pairs and their distances, an array each; a pair may come again."""
    places = np.array([i for i, each in enumerate(hashes) if each is not None], dtype=np.intp)
    if len(places) < 2:
        return
    text = "".join(each for each in hashes if each is not None)
    raw = np.frombuffer(bytes.fromhex(text), np.uint8).reshape(len(places), BITS // 8)
    bits = np.unpackbits(raw, axis=1)
    words = np.pad(raw, ((0, 0), (0, 24 - BITS // 8))).view(np.uint64)
    weights = 1 << np.arange(BITS // BANDS)
    for band in range(BANDS):
        # Bits of all parts of the picture: a band of one part is often the same, as the sky is.
        keys = bits[:, band::BANDS] @ weights
        order = np.lexsort((*words.T, keys))
        keys, sorted_words = keys[order], words[order]
        for step in range(1, min(WINDOW, len(order) - 1) + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(same):
                break
            apart = sorted_words[same] ^ sorted_words[same + step]
            distances = np.bitwise_count(apart).sum(axis=1)
            near = distances <= NEAR
            yield places[order[same[near]]], places[order[same[near] + step]], distances[near]
