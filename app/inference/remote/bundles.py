"""Bundles: many small messages in one frame of a socket.

For every frame that is sent or received, the thread hands the interpreter over to another one and
waits until that gives it back; under load this takes longer than a message does.

    for sent in bundled(messages): socket.send_multipart(sent)
    for message in unbundled(socket.recv_multipart()): …
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgpack

from app.inference.remote.wire import Frames

MAX_BYTES = 2**18  # of the messages in a bundle; what is larger goes alone, and is not copied


def bundled(messages: Iterable[Frames]) -> Iterator[Frames]:
    """Yield the frames to send for messages of two frames or more, in their order.

    A message of one frame must be small.
    """
    held: list[list[Any]] = []
    size = 0
    for message in messages:
        own = sum(memoryview(frame).nbytes for frame in message)
        if held and size + own > MAX_BYTES:
            yield [msgpack.packb(held)]
            held, size = [], 0
        if own > MAX_BYTES:
            yield message
        else:
            held.append([memoryview(frame) for frame in message])
            size += own
    if held:
        yield [msgpack.packb(held)]


def unbundled(sent: Frames) -> list[Frames]:
    """Return the messages that these frames were sent for."""
    if len(sent) > 1:
        return [sent]
    messages: list[Frames] = msgpack.unpackb(sent[0])
    return messages
