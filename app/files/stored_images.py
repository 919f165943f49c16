"""The problems of stored images whose bytes are not as they were, or do not decode any more."""

import hashlib

from app.errors import Invalid, NotReady
from app.files.blobs import BlobMissing


def unreadable(path: str, reason: str) -> Invalid:
    """Return the problem of a stored image that does not decode under the present limits."""
    return Invalid(
        "image_unreadable",
        f"image {path} of the dataset cannot be read any more: {reason}: delete this image",
    )


def damaged(missing: BlobMissing) -> NotReady:
    """Return the problem of an image that has a row but no bytes."""
    return NotReady("image_damaged", f"{missing}: restore the pack, or delete the image")


def check_bytes(data: bytes, image_id: str, sha256: str) -> None:
    """Raise BlobMissing if what lies at an image's place in its pack is not the image's file."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BlobMissing(f"the bytes of {image_id} are not in its dataset's pack")
