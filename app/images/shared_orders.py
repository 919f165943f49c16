"""Small images of many requests, decoded by shared orders.

A trip to a worker and back costs more than such an image does. So while some are being decoded, the
next ones gather, and go together; one that comes when nothing is being decoded waits for nobody.

A small file may be costly all the same, and end the worker that has the others too. So images of
clients who sent such a one lately go apart, one order of them at a time; and one that has proved
heavy waits in threads that no light one needs.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Thread
from typing import NamedTuple

import numpy as np

from app.images.budget import Budget
from app.images.decoder import Decoder
from app.images.image_files import BadImage
from app.images.orders import MAX_TOGETHER, MAX_TOGETHER_BYTES
from app.server.event_loop import AfterTurn
from tangent.backbones.geometry import Geometry

SMALL_BYTES = 32 * 2**10  # of an image file that shares an order
ORDERS = 2  # at a time
# Images at a time that are tried by themselves, and those of them that have proved heavy; most of
# these only wait for their turn.
ALONE, HEAVY = 32, 32

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
        self._changed = Condition()
        self._waiting = {False: deque[_Image](), True: deque[_Image]()}  # by: is its client costly?
        self._costly_orders, self._was_costly = 0, False  # under way; the last one that was taken
        self._notify_soon = AfterTurn(self._notify)
        self._threads, self._is_closed = 0, False
        # More than there are workers: whose turn it is among them, `Turns` decides by budgets.
        self._alone = ThreadPoolExecutor(ALONE, thread_name_prefix="decoding-alone")
        self._heavy = ThreadPoolExecutor(HEAVY, thread_name_prefix="decoding-heavy")

    def pixels(self, file: bytes, geometry: Geometry, budget: Budget) -> "Future[Pixels]":
        """Return a future of the file's pixels in this geometry, or of what is wrong with it.

        Its errors are those of `Decoder.pixels`.
        """
        image = _Image(file, geometry, budget, Future())
        with self._changed:
            self._waiting[budget.share.is_costly].append(image)
            if self._threads < ORDERS:
                self._threads += 1
                Thread(target=self._work, name="decoding", daemon=True).start()
        self._notify_soon()
        return image.pixels

    def _notify(self) -> None:
        with self._changed:  # one thread takes as many as an order holds
            waiting = sum(len(images) for images in self._waiting.values())
            self._changed.notify(1 + waiting // MAX_TOGETHER)

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._alone.shutdown(wait=False)
        self._heavy.shutdown(wait=False)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lane() is not None or self._is_closed)
                is_costly = self._lane()
                if is_costly is None:
                    return
                # One that ends its worker takes nobody along, where that is to be expected.
                images = _order_of(self._waiting[is_costly], 1 if is_costly else MAX_TOGETHER)
                self._costly_orders += is_costly
                self._was_costly = is_costly
            try:
                self._decode(images, is_costly)
            finally:
                if is_costly:  # the next one of such clients may go
                    with self._changed:
                        self._costly_orders -= 1
                        self._changed.notify_all()

    def _lane(self) -> bool | None:
        """Return whether the next order is of costly clients; None if there is none."""
        may_be_costly = bool(self._waiting[True]) and self._costly_orders < ORDERS - 1
        if self._waiting[False] and (self._was_costly or not may_be_costly):
            return False
        return True if may_be_costly else False if self._waiting[False] else None

    def _decode(self, given: list[_Image], is_costly: bool) -> None:
        # One that an order has left out runs already.
        images = [
            each
            for each in given
            if each.pixels.running() or each.pixels.set_running_or_notify_cancel()
        ]
        if not images:
            return
        files, budgets = [each.file for each in images], [each.budget for each in images]
        try:
            found = self._decoder.pixels_together(files, images[0].geometry, budgets)
        except BaseException as error:
            for each in images:
                each.pixels.set_exception(error)
            return
        with self._changed:  # what the order has left out, as it took long enough, is next
            self._waiting[is_costly].extendleft(reversed(images[len(found) :]))
        for each, pixels in zip(images, found, strict=False):
            if pixels is not None:
                each.pixels.set_result(pixels)
                continue
            is_heavy = len(images) == 1
            _submit(self._heavy if is_heavy else self._alone, self._decode_alone, each, is_heavy)

    def _decode_alone(self, image: _Image, is_heavy: bool) -> None:
        file, geometry, budget = image.file, image.geometry, image.budget
        found: Pixels | None
        try:
            if is_heavy:
                found = self._decoder.heavy_pixels(file, geometry, budget)
            else:
                [found] = self._decoder.pixels_together([file], geometry, [budget])
        except BaseException as error:
            image.pixels.set_exception(error)
            return
        if found is None:
            _submit(self._heavy, self._decode_alone, image, True)
        else:
            image.pixels.set_result(found)


def _order_of(waiting: deque[_Image], most: int) -> list[_Image]:
    """Take the images of one order, all of one geometry, and at most so many."""
    taken: list[_Image] = []
    size = 0
    while waiting and len(taken) < most:
        size += len(waiting[0].file)
        is_other = bool(taken) and waiting[0].geometry != taken[0].geometry
        if is_other or (taken and size > MAX_TOGETHER_BYTES):
            break
        taken.append(waiting.popleft())
    return taken


def _submit(
    pool: ThreadPoolExecutor, work: Callable[[_Image, bool], None], image: _Image, is_heavy: bool
) -> None:
    try:
        pool.submit(work, image, is_heavy)
    except RuntimeError as error:  # the service ends
        image.pixels.set_exception(error)
