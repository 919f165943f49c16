"""Small images of many requests, decoded by shared orders.

A trip to a worker and back costs more than such an image does. So while some are being decoded, the
next ones gather, and go together; one that comes when nothing is being decoded waits for nobody.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple

import numpy as np

from app.images.budget import Budget, TooExpensive
from app.images.decoder import MAX_TOGETHER, MAX_TOGETHER_BYTES, WORKERS, Decoder
from app.images.image_files import BadImage
from tangent.backbones.geometry import Geometry

SMALL_BYTES = 32 * 2**10  # of an image file that shares an order
ORDERS = 2  # at a time

Pixels = np.ndarray | BadImage


class _Image(NamedTuple):
    """One image that waits, and the future of its pixels."""

    file: bytes
    geometry: Geometry
    budget: Budget
    pixels: "Future[Pixels]"


class SharedOrders:
    """Decodes small images for any number of threads."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._lock, self._waiting, self._running = Lock(), deque[_Image](), 0
        self._threads = ThreadPoolExecutor(ORDERS, thread_name_prefix="decoding")
        self._alone = ThreadPoolExecutor(WORKERS, thread_name_prefix="decoding-alone")

    def pixels(self, file: bytes, geometry: Geometry, budget: Budget) -> "Future[Pixels]":
        """Return a future of the file's pixels in this geometry, or of what is wrong with it.

        Its errors are those of `Decoder.pixels`.
        """
        image = _Image(file, geometry, budget, Future())
        with self._lock:
            self._waiting.append(image)
            if self._running < ORDERS:
                self._running += 1
                self._threads.submit(self._work)
        return image.pixels

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        self._threads.shutdown(wait=False)
        self._alone.shutdown(wait=False)

    def _work(self) -> None:
        while images := self._next():
            try:
                found = self._decoder.pixels_together(
                    *([each.file for each in images], images[0].geometry),
                    [each.budget for each in images],
                )
            except BaseException as error:
                for each in images:
                    each.pixels.set_exception(error)
                continue
            for each, pixels in zip(images, found, strict=True):
                if pixels is None:
                    self._alone.submit(self._decode_alone, each)
                else:
                    each.pixels.set_result(pixels)

    def _next(self) -> list[_Image]:
        """Take the images of the next order, which have one geometry; none if none waits."""
        taken: list[_Image] = []
        size = 0
        with self._lock:
            while self._waiting and len(taken) < MAX_TOGETHER:
                each = self._waiting[0]
                size += len(each.file)
                other = taken and each.geometry != taken[0].geometry
                if other or (taken and size > MAX_TOGETHER_BYTES):
                    break
                taken.append(self._waiting.popleft())
            if not taken:
                self._running -= 1
        return [each for each in taken if each.pixels.set_running_or_notify_cancel()] or (
            self._next() if taken else []
        )

    def _decode_alone(self, image: _Image) -> None:
        try:
            [found] = self._decoder.pixels([image.file], image.geometry, image.budget)
        except TooExpensive as refusal:
            found = refusal
        except BaseException as error:
            image.pixels.set_exception(error)
            return
        image.pixels.set_result(found)
