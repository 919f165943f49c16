"""Searches for images: by the hash of their bytes, and by their looks."""

import hashlib
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import NamedTuple

from sqlalchemy.orm import Session

from app.database.row_checksums import was_kept
from app.database.sessions import transaction
from app.database.tables import Image
from app.datasets import datasets
from app.datasets.training_images import is_for_training
from app.errors import Problem
from app.images.budget import REQUEST_TIMES, Budget
from app.images.decoder import decoder_of
from app.images.image_files import Facts
from app.images.perceptual_hash import distance
from app.inference.deletion_gate import Ticket
from app.operations.prediction_inputs import input_of, within
from app.parts import Parts
from tangent_composer.schemas.images import HeldImage, ImageSearchOut, NearImage

SHOWN = 100  # images of either kind in one answer


class Near(NamedTuple):
    """An image by its distance, and by its id among those of one distance."""

    distance: int
    id: str


def search_images(parts: Parts, ticket: Ticket, data: bytes, most_distance: int) -> ImageSearchOut:
    """Return the images that are this one, or differ from it in so many bits at most.

    A process makes one search at a time, as it reads the hashes of all images.

    Raises:
        TooManyRequests: `rate_limited`.
        TooLarge: `image_too_large`.
        Invalid: `bad_image`, `image_too_expensive`.
        NotReady: as the decoder.
    """
    parts.count_images(1)
    seen = _facts(parts, data).perceptual_hash
    sha256 = hashlib.sha256(data).hexdigest()
    with parts.searching, transaction(parts.reading) as session:
        ticket.read_as_of_now()
        exact = datasets.same_bytes(session, sha256, after=None, limit=SHOWN + 1)
        near, not_compared = _near(session, seen, sha256, most_distance)
        rows = datasets.images_by_id(session, [each.id for each in near[:SHOWN]])
        found = held(session, [*exact[:SHOWN], *rows.values()])
    return ImageSearchOut(
        sha256=sha256,
        perceptual_hash=seen,
        exact=[found[row.id] for row in exact[:SHOWN] if row.id in found],
        near=[
            NearImage(**found[each.id].model_dump(), distance=each.distance)
            for each in near[:SHOWN]
            if each.id in found
        ],
        has_more=max(len(exact), len(near)) > SHOWN,
        not_compared=not_compared,
    )


def held(session: Session, rows: Sequence[Image]) -> dict[str, HeldImage]:
    """Return the views of these images by their ids, damaged rows left out."""
    intact = [row for row in rows if not was_kept(row)]
    of = datasets.trained_from(session, {row.dataset_id for row in intact})
    trained = {row.id: of[row.dataset_id] if is_for_training(row) else [] for row in intact}
    return {row.id: HeldImage.of(row, trained[row.id]) for row in intact}


def _facts(parts: Parts, data: bytes) -> Facts:
    image = within(data, parts.settings.max_image_bytes)
    if isinstance(image, Problem):
        raise image
    [found] = decoder_of(parts.settings).examine([data], Budget(times=REQUEST_TIMES))
    checked = input_of(found)
    if isinstance(checked, Problem):
        raise checked
    facts: Facts = checked
    return facts


def _near(
    session: Session, seen: str | None, sha256: str, most_distance: int
) -> tuple[list[Near], int]:
    """Return the nearest images, one more than are shown, and how many could not be compared."""
    not_compared = 0

    def candidates() -> Iterable[Near]:
        nonlocal not_compared
        for id_, its_sha256, its_hash in datasets.hashes(session):
            if its_hash is None:
                not_compared += its_sha256 != sha256
            elif seen is not None and its_sha256 != sha256:
                found = Near(distance(seen, its_hash), id_)
                if found.distance <= most_distance:
                    yield found

    return nsmallest(SHOWN + 1, candidates()), not_compared
