"""The small images that wait for an order, in lanes by what is known of their clients.

Any image may be costly, and end the worker that has it. So images share an order only where their
clients have sent light ones; a client that has sent none yet has one of its images tried first, by
itself, and so it is for half a minute with all images of a client that has sent a heavy one.
"""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from enum import Enum
from typing import NamedTuple

import numpy as np

from app.images.budget import Budget
from app.images.image_files import BadImage
from app.images.orders import MAX_TOGETHER, MAX_TOGETHER_BYTES
from tangent.backbones.geometry import Geometry

Pixels = np.ndarray | BadImage


class Lane(Enum):
    """The lanes, by their clients."""

    PROVEN = "sent light images"
    NEW = "sent none that was decoded"
    COSTLY = "sent a heavy image lately"


class Image(NamedTuple):
    """One image that waits, and the future of its pixels."""

    file: bytes
    geometry: Geometry
    budget: Budget
    pixels: "Future[Pixels]"

    @property
    def lane(self) -> Lane:
        """The lane of its client, as of now."""
        share = self.budget.share
        return Lane.COSTLY if share.is_costly else Lane.PROVEN if share.is_proven else Lane.NEW


class Order(NamedTuple):
    """Images that go to a worker together."""

    images: list[Image]
    is_apart: bool  # a single one, of which nobody knows what it costs


class Lanes:
    """The images that wait; every call is made under one lock of its caller's.

    Lanes take turns, and one order at a time goes apart: of a new client's images the others wait
    until one has shown what they may cost.
    """

    def __init__(self) -> None:
        self._lanes = {lane: deque[Image]() for lane in Lane}
        self._order = list(Lane)  # the lane that had no turn for longest comes first
        self._is_apart = False  # is such an order under way?

    def __len__(self) -> int:
        return sum(len(images) for images in self._lanes.values())

    def add(self, image: Image) -> None:
        """Have the image wait behind those of its lane."""
        self._lanes[image.lane].append(image)

    def put_back(self, images: Iterable[Image]) -> None:
        """Have images that were taken wait again, before those of their lanes."""
        for image in reversed([*images]):
            self._lanes[image.lane].appendleft(image)
        self._sort()

    def take(self) -> Order | None:
        """Take the images of the next order; None if none can go now."""
        for lane in self._order:
            waiting, goes_apart = self._lanes[lane], lane is not Lane.PROVEN
            if not waiting or (goes_apart and self._is_apart):
                continue
            images = [waiting.popleft()] if goes_apart else _together(waiting)
            self._is_apart |= goes_apart
            self._order.remove(lane)
            self._order.append(lane)
            return Order(images, goes_apart)
        return None

    def end(self, order: Order) -> None:
        """Note that an order has ended, by which more may be known of its clients."""
        if order.is_apart:
            self._is_apart = False
            self._sort()

    def _sort(self) -> None:
        """Move images to the lanes where their clients now are."""
        for lane, images in self._lanes.items():
            placed = [(image, image.lane) for image in images]  # a lane may change at any time
            if any(now is not lane for _, now in placed):
                images.clear()
                for image, now in placed:
                    self._lanes[now].append(image)


def _together(waiting: deque[Image]) -> list[Image]:
    """Take the first images of one geometry, at most as many as one order holds."""
    taken: list[Image] = []
    size = 0
    while waiting and len(taken) < MAX_TOGETHER:
        size += len(waiting[0].file)
        is_other = bool(taken) and waiting[0].geometry != taken[0].geometry
        if is_other or (taken and size > MAX_TOGETHER_BYTES):
            break
        taken.append(waiting.popleft())
    return taken
