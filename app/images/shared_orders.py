"""Small images of many requests, decoded by shared orders.

A trip to a worker and back costs more than such an image does. So while some are being decoded, the
next ones gather, and go together; one that comes when nothing is being decoded waits for nobody.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Thread
from typing import NamedTuple

import numpy as np

from app.images.budget import Budget, TooExpensive
from app.images.decoder import MAX_TOGETHER, MAX_TOGETHER_BYTES, Decoder
from app.images.image_files import BadImage
from app.server.event_loop import AfterTurn
from tangent.backbones.geometry import Geometry

SMALL_BYTES = 32 * 2**10  # of an image file that shares an order
ORDERS = 2  # at a time
ALONE = 32  # images at a time that are decoded by themselves, or wait for their turn at it

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
        self._changed, self._waiting = Condition(), deque[_Image]()
        self._notify_soon = AfterTurn(self._notify)
        self._threads, self._is_closed = 0, False
        # More than there are workers: whose turn it is among them, `Turns` decides by budgets.
        self._alone = ThreadPoolExecutor(ALONE, thread_name_prefix="decoding-alone")

    def pixels(self, file: bytes, geometry: Geometry, budget: Budget) -> "Future[Pixels]":
        """Return a future of the file's pixels in this geometry, or of what is wrong with it.

        Its errors are those of `Decoder.pixels`.
        """
        image = _Image(file, geometry, budget, Future())
        with self._changed:
            self._waiting.append(image)
            if self._threads < ORDERS:
                self._threads += 1
                Thread(target=self._work, name="decoding", daemon=True).start()
        self._notify_soon()
        return image.pixels

    def _notify(self) -> None:
        with self._changed:  # one thread takes as many as an order holds
            self._changed.notify(1 + len(self._waiting) // MAX_TOGETHER)

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._alone.shutdown(wait=False)

    def _work(self) -> None:
        while images := self._next():
            # One that an order has left out runs already.
            wanted = [
                each
                for each in images
                if each.pixels.running() or each.pixels.set_running_or_notify_cancel()
            ]
            if wanted:
                self._decode(wanted)

    def _next(self) -> list[_Image]:
        """Wait for images, and take those of the next order, of one geometry; none at the end."""
        taken: list[_Image] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            while self._waiting and len(taken) < MAX_TOGETHER:
                each = self._waiting[0]
                size += len(each.file)
                is_other = bool(taken) and each.geometry != taken[0].geometry
                if is_other or (taken and size > MAX_TOGETHER_BYTES):
                    break
                taken.append(self._waiting.popleft())
        return taken

    def _decode(self, images: list[_Image]) -> None:
        files, budgets = [each.file for each in images], [each.budget for each in images]
        try:
            found = self._decoder.pixels_together(files, images[0].geometry, budgets)
        except BaseException as error:
            for each in images:
                each.pixels.set_exception(error)
            return
        with self._changed:  # what the order has left out, as it took long enough, is next
            self._waiting.extendleft(reversed(images[len(found) :]))
        for each, pixels in zip(images, found, strict=False):
            if pixels is not None:
                each.pixels.set_result(pixels)
                continue
            try:
                self._alone.submit(self._decode_alone, each)
            except RuntimeError as error:  # the service ends
                each.pixels.set_exception(error)

    def _decode_alone(self, image: _Image) -> None:
        try:
            [found] = self._decoder.pixels([image.file], image.geometry, image.budget)
        except TooExpensive as refusal:
            found = refusal
        except BaseException as error:
            image.pixels.set_exception(error)
            return
        image.pixels.set_result(found)
