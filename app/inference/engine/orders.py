"""Orders: the images of requests, and the passes through the backbone that they share."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

import torch

import tangent
from app.inference.engine.values import inputs_of
from app.inference.models import Pixels

LARGE_IMAGE = 128  # pixels of a side, from which a few images fill a processor's caches
Images = Pixels | Sequence[torch.Tensor]  # all pixels, or all inputs of the network (3, S, S)
# `mixed`: in batches with other requests' images. `each`: every image in a pass of its own, whose
# bits depend on nothing else. `alone`: in batches of the order's own images. `together`: in one
# call of `Space.logits`, as others compute it too.
Company = Literal["mixed", "each", "alone", "together"]


def best_size(space: tangent.Space) -> int:
    """Return the number of images in a batch that answers most images a second."""
    if space.device.type != "cpu":
        return 64
    return 16 if space.image_size >= LARGE_IMAGE else 32


@dataclass(eq=False)
class Order:
    """The images of one request, on their way through the backbone."""

    space: tangent.Space
    images: Images
    delta: tangent.Delta
    company: Company
    is_wanted: Callable[[], bool]
    since: float = field(default_factory=perf_counter)
    begun: float | None = None  # when its first batch began
    forward: float = 0.0  # seconds of the batches that it took part in
    taken: int = 0  # images that batches have taken
    rows: list[torch.Tensor] = field(default_factory=list)
    done: Future[torch.Tensor] = field(default_factory=Future)

    @property
    def queued(self) -> float:
        """The seconds until its first batch began."""
        return (self.begun or perf_counter()) - self.since

    def take(self, most: int) -> list[Any]:
        """Return the next images, at most so many."""
        images = list(self.images[self.taken : self.taken + most])
        self.taken += len(images)
        return images


Batch = list[tuple[Order, list[Any]]]


def mixable(queue: deque[Order]) -> list[Order]:
    """Return the orders that may take part in the first one's batch."""
    if queue[0].company != "mixed":
        return [queue[0]]
    return [order for order in queue if order.company == "mixed"]


def logits_of(batch: Batch) -> list[torch.Tensor]:
    """Return the logits (images, labels of its delta) of every order's part."""
    space = batch[0][0].space
    given = [image for _, images in batch for image in images]
    images = torch.stack(given) if torch.is_tensor(given[0]) else inputs_of(space, given)
    deltas = list({id(order.delta): order.delta for order, _ in batch}.values())
    counts = [len(images) for _, images in batch]
    if len(deltas) == 1:
        return list(space.logits(images, deltas[0]).split(counts))
    place = {id(delta): index for index, delta in enumerate(deltas)}
    own = [place[id(order.delta)] for order, images in batch for _ in images]
    rows = iter(space.logits_of_own(images, deltas, own))
    return [torch.stack([next(rows) for _ in range(count)]) for count in counts]
