"""Bundles carry every message whole and in its order, small ones together and large ones alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.inference.remote.bundles import MAX_BYTES, bundled, unbundled
from app.inference.remote.wire import packed, unpacked

SIZES = st.sampled_from([0, 1, 300, MAX_BYTES // 3, MAX_BYTES, MAX_BYTES + 1])


def carried(messages: list[list[bytes]]) -> list[list[bytes]]:
    """The messages as they come out of a socket."""
    sent = [[bytes(frame) for frame in each] for each in bundled(messages)]
    return [message for each in sent for message in unbundled(each)]


@given(st.lists(st.lists(SIZES, min_size=1, max_size=4)))
def test_every_message_comes_whole_and_in_its_order(sizes):
    messages = [
        [bytes([number % 256]) * 8, *(bytes(size) for size in each)]
        for number, each in enumerate(sizes)
    ]
    assert carried(messages) == messages


def test_small_messages_go_together_up_to_a_number_of_bytes():
    small = [[b"12345678", bytes(1000)]] * 1000
    sent = list(bundled(small))
    assert [len(each) for each in sent] == [1] * len(sent)
    assert len(sent) == -(-1000 // (MAX_BYTES // 1008))
    assert all(len(frame) < 1.1 * MAX_BYTES for (frame,) in sent)


def test_a_large_message_goes_alone_and_its_frames_are_not_copied():
    pixels = np.zeros((MAX_BYTES, 3), np.uint8)
    large = [b"12345678", *packed(["run", [pixels], {}])]
    first, second, last = bundled([[b"1"], large, [b"2"]])
    assert second is large and np.shares_memory(second[2], pixels)
    assert unbundled(first) + unbundled(last) == [[b"1"], [b"2"]]


def test_arrays_of_any_shape_are_carried():
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 4)), np.float64(2.5)]
    (message,) = carried([[b"1", *packed([np.asarray(each) for each in arrays])]])
    for found, array in zip(unpacked(message[1:]), arrays, strict=True):
        np.testing.assert_array_equal(found, array)
