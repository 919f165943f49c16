"""Batches: the images of many requests go through a backbone together, each by its own delta.

One thread runs all batches of a device, so that torch has one pool of threads and no request waits
for the interpreter's lock between two operations of another's. It takes what waits for one space,
an even share of each request, and turns to the next space. A request with many images thus takes
part in many batches, and holds up nobody: between two of its batches, those that it can share none
with have theirs.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from threading import Condition, Thread
from time import perf_counter

from app.errors import NotReady, TooManyRequests
from app.inference.engine.orders import (
    Answers,
    Batch,
    Order,
    answers_of,
    best_size,
    mixable,
)

RETRY_SECONDS = 1


class Batches:
    """Forms and runs the batches of one device, in a thread that ends with `close`."""

    def __init__(
        self,
        *,
        most_images: int = 0,
        wait_seconds: float = 0.0,
        most_waiting: int = 4096,
        seen: Callable[[Batch, float], None] = lambda batch, seconds: None,
    ) -> None:
        """`most_images` of a batch: 0 for `best_size`. An incomplete one waits `wait_seconds`.

        `most_waiting` images wait at a time. `seen` is called with each batch and its seconds.
        """
        self._most_images, self._wait_seconds = most_images, wait_seconds
        self._most_waiting, self._seen = most_waiting, seen
        self.answered: Callable[[], None] = lambda: None  # called after the answers of a batch
        self._changed = Condition()
        self._queues: OrderedDict[int, deque[Order]] = OrderedDict()  # by the space's id
        self._is_closed = self._is_computing = False
        self._others = 0  # threads that wait for a turn
        self._was_other = False  # the last turn was not a batch's
        self._thread: Thread | None = None

    @property
    def waiting(self) -> int:
        """The number of images that wait."""
        with self._changed:
            return self._count_waiting()

    def run(self, order: Order) -> Answers:
        """Wait for the order's batches; return the answers to its images.

        Raises:
            TooManyRequests: `queue_full`.
            NotReady: `service_stopping`.
            CancelledError: `is_wanted` returned False before the last batch.
        """
        self.enqueue(order)
        return order.done.result()

    def enqueue(self, order: Order) -> None:
        """Let the order wait for its batches; its `done` has the answers then, or the error.

        Raises:
            TooManyRequests, NotReady: as `run`.
        """
        with self._changed:
            if self._is_closed:
                raise _stopping()
            if self._thread is None:
                self._thread = Thread(target=self._work, name="batches", daemon=True)
                self._thread.start()
            waiting = self._count_waiting()
            if waiting and waiting + len(order.images) > self._most_waiting:
                raise TooManyRequests(
                    "queue_full",
                    f"{waiting} images wait for their answers, the most are {self._most_waiting}: "
                    "send the request again a little later",
                    retry_after=RETRY_SECONDS,
                )
            self._queues.setdefault(id(order.space), deque()).append(order)
            self._changed.notify_all()

    @property
    def turn(self) -> "Turn":
        """A context that keeps the device for its block; batches and other turns alternate."""
        return Turn(self)

    def begin_turn(self) -> None:
        """Wait until no batch runs, and until one that waited before has run."""
        with self._changed:
            self._others += 1
            try:
                self._changed.wait_for(
                    lambda: not self._is_computing and not (self._was_other and self._queues)
                )
            finally:
                self._others -= 1
            self._is_computing = True

    def end_turn(self, *, was_other: bool = True) -> None:
        """Let the next one compute."""
        with self._changed:
            self._is_computing, self._was_other = False, was_other
            self._changed.notify_all()

    def close(self) -> None:
        """Refuse what waits, and end the thread after the batch that it computes."""
        with self._changed:
            self._is_closed = True
            orders = [order for queue in self._queues.values() for order in queue]
            self._queues.clear()
            self._changed.notify_all()
            thread = self._thread
        for order in orders:
            order.done.set_exception(_stopping())
        self.answered()
        if thread is not None:
            thread.join()

    def _count_waiting(self) -> int:
        orders = (order for queue in self._queues.values() for order in queue)
        return sum(len(order.images) - order.taken for order in orders)

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._compute(batch)
            finally:
                self.end_turn(was_other=False)
            self.answered()

    def _next(self) -> Batch | None:
        """Wait for the next batch and take the device; None at the end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or (self._queues and self._is_free))
                if self._is_closed:
                    return None
                space, queue = next(iter(self._queues.items()))
                left = self._wait_seconds - (perf_counter() - queue[0].since)
                if left > 0 and not self._is_full(queue):
                    self._changed.wait(left)
                    continue
                batch = self._taken(space, queue)
                if batch:
                    self._is_computing = True
                    return batch
                self._changed.notify_all()  # a turn may have waited for what nobody wants any more

    @property
    def _is_free(self) -> bool:
        return not self._is_computing and (self._was_other or not self._others)

    def _size(self, first: Order) -> int:
        """Return the most images of the batch that this order is the first of."""
        if first.company in ("mixed", "alone"):
            return self._most_images or best_size(first.space)
        return 1 if first.company == "each" else len(first.images)

    def _is_full(self, queue: deque[Order]) -> bool:
        waiting = sum(len(order.images) - order.taken for order in queue)
        return waiting >= self._size(queue[0])

    def _taken(self, space: int, queue: deque[Order]) -> Batch:
        """Take a batch out of the queue; what is left of its orders is behind those of others.

        The space's next batch comes after those of other spaces.
        """
        self._drop_unwanted(queue)
        batch: Batch = []
        if queue:
            size = self._size(queue[0])
            orders = mixable(queue)[:size]
            parts = {order: order.take(max(1, size // len(orders))) for order in orders}
            for order in orders:
                parts[order] += order.take(size - sum(map(len, parts.values())))
                queue.remove(order)
            queue.extend(order for order in orders if order.taken < len(order.images))
            batch = list(parts.items())
        if queue:
            self._queues.move_to_end(space)
        else:
            del self._queues[space]
        return batch

    def _drop_unwanted(self, queue: deque[Order]) -> None:
        for order in [each for each in queue if not each.is_wanted()]:
            queue.remove(order)
            order.done.set_exception(CancelledError())

    def _compute(self, batch: Batch) -> None:
        """Run the batch; if that fails, each order's part alone, so that none fails for others."""
        started = perf_counter()
        for order, _ in batch:
            order.begun = order.begun or started
        try:
            found = answers_of(batch)
        except Exception as error:
            if len(batch) == 1:
                self._fail(batch[0][0], error)
            else:
                for part in batch:
                    self._compute([part])
            return
        seconds = perf_counter() - started
        self._seen(batch, seconds)
        for (order, _), answers in zip(batch, found, strict=True):
            order.forward += seconds
            order.add(answers)

    def _fail(self, order: Order, error: Exception) -> None:
        with self._changed:
            queue = self._queues.get(id(order.space), deque())
            if order in queue:
                queue.remove(order)
                if not queue:
                    del self._queues[id(order.space)]
        if not order.done.done():
            order.done.set_exception(error)


class Turn:
    """The device for a block, as a context that can be entered again."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __enter__(self) -> None:
        self._batches.begin_turn()

    def __exit__(self, *error: object) -> None:
        self._batches.end_turn()


def _stopping() -> NotReady:
    return NotReady(
        "service_stopping", "the service is stopping: send the request again", retry_after=5
    )
