"""Orders: the images of requests, and the passes through the backbone that they share."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, NamedTuple

import torch

import tangent
from app.inference.models import Pixels
from tangent.composition.leverage import Leverage

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


class Answers(NamedTuple):
    """The answers to some images of one order."""

    logits: torch.Tensor  # (images, labels of its delta)
    leverages: torch.Tensor | None  # (images,), if the order has a leverage


@dataclass(eq=False)
class Order:
    """The images of one request, on their way through the backbone."""

    space: tangent.Space
    images: Images
    delta: tangent.Delta
    company: Company
    is_wanted: Callable[[], bool]
    leverage: Leverage | None = None  # under which the images are to be seen too
    since: float = field(default_factory=perf_counter)
    begun: float | None = None  # when its first batch began
    forward: float = 0.0  # seconds of the batches that it took part in
    taken: int = 0  # images that batches have taken
    parts: list[Answers] = field(default_factory=list)
    done: Future[Answers] = field(default_factory=Future)

    @property
    def queued(self) -> float:
        """The seconds until its first batch began."""
        return (self.begun or perf_counter()) - self.since

    def add(self, answers: Answers) -> None:
        """Add the answers to the next images; end with those to the last ones."""
        self.parts.append(answers)
        if (
            sum(len(part.logits) for part in self.parts) == len(self.images)
            and not self.done.done()
        ):
            logits = torch.cat([part.logits for part in self.parts])
            seen = [part.leverages for part in self.parts if part.leverages is not None]
            self.done.set_result(Answers(logits, torch.cat(seen) if seen else None))

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


def answers_of(batch: Batch) -> list[Answers]:
    """Return the answers to every order's part of the images.

    Only mixed batches go through faster passes: what made a pass ready moves the last digits.
    """
    space, exact = batch[0][0].space, batch[0][0].company != "mixed"
    given = [image for _, images in batch for image in images]
    images = torch.stack(given) if torch.is_tensor(given[0]) else space.inputs(given)
    deltas = list({id(order.delta): order.delta for order, _ in batch}.values())
    counts = [len(images) for _, images in batch]
    if len(deltas) == 1 and not any(order.leverage for order, _ in batch):
        logits = space.logits(images, deltas[0], exact=exact)
        return [Answers(rows, None) for rows in logits.split(counts)]
    place = {id(delta): index for index, delta in enumerate(deltas)}
    own = [place[id(order.delta)] for order, images in batch for _ in images]
    found = space.answers_of_own(images, deltas, own, exact=exact)
    seen = _leverages(batch, [psi for _, psi in found])
    rows = iter(found)
    each = [torch.stack([next(rows)[0] for _ in range(count)]) for count in counts]
    return list(map(Answers, each, seen))


def _leverages(batch: Batch, psi: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
    """Return the leverages of every order's part; parts under one leverage are seen together."""
    places: dict[int, list[int]] = {}  # by the leverage's id, the places of the images
    at = 0
    for order, images in batch:
        places.setdefault(id(order.leverage), []).extend(range(at, at + len(images)))
        at += len(images)
    values = torch.zeros(len(psi), dtype=torch.float64)
    for leverage in {id(order.leverage): order.leverage for order, _ in batch}.values():
        if leverage is not None:
            own = places[id(leverage)]
            values[own] = leverage.of(torch.stack([psi[place] for place in own]))
    parts = values.split([len(images) for _, images in batch])
    return [
        None if order.leverage is None else part
        for (order, _), part in zip(batch, parts, strict=True)
    ]
