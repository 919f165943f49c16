"""Uploads into a dataset that is there: next week's images, checked as those of a new dataset."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from app.archives.uploads import Upload
from app.database.sessions import transaction
from app.datasets import datasets
from app.parts import Parts
from app.store.idempotency import Once
from app.unlearning import addition
from app.unlearning.change_plan import Unchanged
from app.unlearning.dataset_change import change_once
from app.unlearning.unlearn import Unlearned
from tangent_composer.schemas.dataset_images import AddedImages
from tangent_composer.schemas.receipts import ReceiptOut


def upload_images(
    parts: Parts,
    dataset_id: str,
    file: BinaryIO,
    code_page: str | None,
    once: Once,
    *,
    probe: bool = False,
) -> tuple[AddedImages, Sequence[str]]:
    """Add the archive's images to the dataset, once for an idempotency key; return the dataset.

    Return the names of unconfirmed processes too, see `Unlearned`. An archive of which the dataset
    has every image changes nothing, and there is no receipt.

    Raises:
        Problem: as `app.archives.uploads.receive`, `addition.plan` and `change_dataset`.
        Forbidden: `quota_exceeded`.
    """
    with transaction(parts.reading) as session:  # before the archive is read, which takes long
        datasets.get(session, dataset_id)
    with datasets.receive(file, parts.blobs, parts.settings, code_page) as upload:
        plan = partial(addition.plan, dataset_id=dataset_id, upload=upload, limits=parts.settings)
        request = {"sha256": upload.sha256, "code_page": code_page}
        try:
            done = change_once(parts, dataset_id, plan, once, request, probe=probe, alone=False)
        except Unchanged:
            return _shown(parts, dataset_id, upload, None), ()
        return _shown(parts, dataset_id, upload, done), done.unconfirmed


def _shown(parts: Parts, dataset_id: str, upload: Upload, done: Unlearned | None) -> AddedImages:
    """Return the dataset as it is now, and the archive with the warnings of all images together."""
    with transaction(parts.reading) as session:
        row = datasets.get(session, dataset_id)
        sharing = datasets.sharing(session, dataset_id)
        now = addition.warnings(session, row, upload)
    receipt = None if done is None else ReceiptOut.of(done.receipt)
    told = replace(upload, warnings=now)
    return AddedImages.of(row, told, sharing, receipt)
