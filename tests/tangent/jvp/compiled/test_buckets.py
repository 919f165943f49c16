"""Buckets hold every batch, and waste little of it."""

import pytest

from tangent.jvp.compiled.buckets import BUCKETS, MAX_BUCKET, bucket_of


def test_every_batch_has_the_smallest_bucket_that_holds_it():
    for images in range(1, MAX_BUCKET + 1):
        assert bucket_of(images) == min(each for each in BUCKETS if each >= images)


def test_from_four_images_on_less_than_half_a_batch_is_padding():
    assert all(bucket_of(images) < 1.5 * images for images in range(4, MAX_BUCKET + 1))


@pytest.mark.parametrize("images", [0, MAX_BUCKET + 1])
def test_no_bucket_is_for_nothing_or_for_more_than_the_largest(images):
    assert bucket_of(images) is None
