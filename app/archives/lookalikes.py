"""Images of an upload that look alike: perhaps one picture twice, on both sides of a split."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.archives.outcomes import LabelledFile
from app.archives.splits import TRAIN
from app.images.near_duplicates import Pair, nearest_pairs

MAX_PAIRS = 20  # of each kind in an answer


def found(files: Sequence[LabelledFile]) -> dict[str, Any]:
    """Return the numbers of near duplicates and the nearest pairs, as a dataset stores them."""
    hashes = _hashes(files)
    pairs, images = nearest_pairs(hashes, MAX_PAIRS)
    held = [file.split not in (None, TRAIN) for file in files]
    across, leaked = nearest_pairs(hashes, MAX_PAIRS, held) if any(held) else ([], set())
    return {
        "images": len(images),
        "pairs": [_shown(files, pair) for pair in pairs],
        "held_back_like_training": sum(held[place] for place in leaked),
        "across_splits": [_shown(files, pair) for pair in across],
        "not_compared": sum(file.image.facts.perceptual_hash is None for file in files),
    }


def warnings_of(near: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence if images of val or test look like training images."""
    if near["held_back_like_training"]:
        one, other = near["across_splits"][0]["paths"]
        yield (
            "images of val and test that look like training images: "
            f"{near['held_back_like_training']} ({one} and {other}); if they are the same "
            "pictures, the test has leaked"
        )


def _hashes(files: Sequence[LabelledFile]) -> list[str | None]:
    """Return the hash of each file; None for one with the bytes of an earlier one."""
    seen = set[bytes]()
    hashes: list[str | None] = []
    for file in files:
        known = file.image.sha256 in seen
        hashes.append(None if known else file.image.facts.perceptual_hash)
        seen.add(file.image.sha256)
    return hashes


def _shown(files: Sequence[LabelledFile], pair: Pair) -> dict[str, Any]:
    paths = [files[place].image.path for place in (pair.one, pair.other)]
    return {"distance": pair.distance, "paths": paths}
