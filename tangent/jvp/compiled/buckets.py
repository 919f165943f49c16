"""Buckets: the numbers of images for which passes are made; a batch is padded to the next one."""

MAX_BUCKET = 256
BUCKETS = tuple(sorted([2**k for k in range(9)] + [3 * 2**k for k in range(1, 7)]))


def bucket_of(images: int) -> int | None:
    """Return the smallest bucket that holds so many images: from 4 on at most half as many again.

    None for no image, and for more than MAX_BUCKET.
    """
    if images < 1:
        return None
    return next((bucket for bucket in BUCKETS if bucket >= images), None)
