"""Small images of many requests, decoded by shared orders.

A trip to a worker and back costs more than such an image does. So while some are being decoded, the
next ones gather, and go together; one that comes when nothing is being decoded waits for nobody.
Which of them share an order, `Lanes` decides. One that has proved heavy waits in threads that no
light one needs.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Thread

from app.images.budget import Budget
from app.images.decoder import Decoder
from app.images.lanes import Image, Lanes, Order, Pixels
from app.images.orders import MAX_TOGETHER
from app.server.event_loop import AfterTurn, handed_over_together
from tangent.backbones.geometry import Geometry

SMALL_BYTES = 32 * 2**10  # of an image file that shares an order
ORDERS = 2  # at a time, one of which may go apart
HEAVY = 32  # images at a time that have proved heavy; most of these only wait for their turn


class SharedOrders:
    """Decodes small images for any number of threads."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._changed = Condition()
        self._lanes = Lanes()
        self._notify_soon = AfterTurn(self._notify)
        self._threads, self._is_closed = 0, False
        # More than there are workers: whose turn it is among them, `Turns` decides by budgets.
        self._heavy = ThreadPoolExecutor(HEAVY, thread_name_prefix="decoding-heavy")

    def pixels(self, file: bytes, geometry: Geometry, budget: Budget) -> "Future[Pixels]":
        """Return a future of the file's pixels in this geometry, or of what is wrong with it.

        Its errors are those of `Decoder.pixels`.
        """
        image = Image(file, geometry, budget, Future())
        with self._changed:
            self._lanes.add(image)
            if self._threads < ORDERS:
                self._threads += 1
                Thread(target=self._work, name="decoding", daemon=True).start()
        self._notify_soon()
        return image.pixels

    def _notify(self) -> None:
        with self._changed:  # one thread takes as many as an order holds
            self._changed.notify(1 + len(self._lanes) // MAX_TOGETHER)

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._heavy.shutdown(wait=False)

    def _work(self) -> None:
        while True:
            with self._changed:
                while (order := self._lanes.take()) is None:
                    if self._is_closed:
                        return
                    self._changed.wait()
            again: list[Image] = []
            try:
                again = self._decoded(order)
            finally:
                with self._changed:
                    self._lanes.put_back(again)
                    self._lanes.end(order)
                    if order.is_apart or again:  # others may go
                        self._changed.notify_all()

    def _decoded(self, order: Order) -> list[Image]:
        """Decode the order's images; return those that have to be in another one."""
        # One that was in an order before runs already.
        images = [
            each
            for each in order.images
            if each.pixels.running() or each.pixels.set_running_or_notify_cancel()
        ]
        if not images:
            return []
        files, budgets = [each.file for each in images], [each.budget for each in images]
        try:
            found = self._decoder.pixels_together(
                files, images[0].geometry, budgets, is_apart=order.is_apart
            )
        except BaseException as error:
            for each in images:
                each.pixels.set_exception(error)
            return []
        again = []
        with handed_over_together():
            for each, pixels in zip(images, found, strict=False):
                if pixels is not None:
                    each.pixels.set_result(pixels)
                elif len(images) == 1:
                    self._decode_heavy(each)
                else:  # it is costly, or another one that was
                    each.budget.share.is_proven = False
                    again.append(each)
        return again + images[len(found) :]  # left out, as the order took long enough

    def _decode_heavy(self, image: Image) -> None:
        def decode() -> None:
            try:
                given = image.file, image.geometry, image.budget
                image.pixels.set_result(self._decoder.heavy_pixels(*given))
            except BaseException as error:
                image.pixels.set_exception(error)

        try:
            self._heavy.submit(decode)
        except RuntimeError as error:  # the service ends
            image.pixels.set_exception(error)
