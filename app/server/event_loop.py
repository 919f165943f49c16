"""The traffic between the event loop and threads, many results at a time.

    waking = AfterTurn(wake)      waking() in a coroutine: `wake` is called once for all of a turn
    looked = OncePerTurn(look)    looked(): what `look` returns, called once for all of a turn
    await settled(future)         a thread's results are handed over many by one call of the loop
    with handed_over_together():  … and all that the thread sets in the block by one

A thread that is woken takes the interpreter from the one that wakes it, and the loop writes to a
socket of its own for every call from another thread: under load that costs more than the work.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from threading import Lock, local
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary, ref

Result = TypeVar("Result")
Loop = asyncio.AbstractEventLoop
LOOK_SECONDS = 1.0  # between two looks for waits that have taken too long
MAX_DELIVERED = 4  # results in one turn: a new request waits until a turn has ended


class AfterTurn:
    """Calls a function after all that the event loop does in this turn, once.

    In a thread without a running loop it calls the function at once.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._due_in: Loop | None = None  # the loop that is going to call

    def __call__(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._function()
            return
        # A loop that was closed before its next turn never calls: another one does it instead.
        if self._due_in is not loop:
            self._due_in = loop
            loop.call_soon(self._call)

    def _call(self) -> None:
        self._due_in = None
        self._function()


class OncePerTurn(Generic[Result]):
    """Calls a function once in a turn of the event loop, and tells all who ask in it the result.

    A turn begins with the loop's look at its connections. So whoever asks for a request learns what
    was so when that had come, or later: the loop sees the request first, and calls the function
    after. In a thread without a running loop the function is called every time.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self._found: tuple[Loop, Result] | None = None  # in the present turn of this loop

    def __call__(self) -> Result:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._function()
        found = self._found
        if found is not None and found[0] is loop:
            return found[1]
        result = self._function()
        self._found = loop, result
        # The first thing of the next turn: only what this turn has put off comes before.
        loop.call_soon(self._forget)
        return result

    def _forget(self) -> None:
        self._found = None


class _Deliveries:
    """The results of threads for the coroutines of one loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = ref(loop)  # which refers to this, and would be kept for ever
        self._due: deque[asyncio.Future[None]] = deque()
        self._is_called = False
        self._ends: dict[asyncio.Future[None], float] = {}  # of waits that have one
        self._is_watching = False

    def put(self, waiting: "asyncio.Future[None]") -> None:
        """Let the coroutine that waits go on; called in any thread."""
        self._due.append(waiting)
        held: set[_Deliveries] | None = getattr(_here, "held", None)
        if held is None:
            self.call()
        else:
            held.add(self)

    def call(self) -> None:
        """Have the loop deliver what is due."""
        loop = self._loop()
        if loop is None or self._is_called:
            return
        self._is_called = True
        try:
            loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed, and so is whoever waited
            self._is_called = False
            self._due.clear()

    def _deliver(self) -> None:
        self._is_called = False  # before looking: what comes now is found, or calls again
        for _ in range(MAX_DELIVERED):
            if not self._due:
                return
            waiting = self._due.popleft()
            if not waiting.done():
                waiting.set_result(None)
        if self._due:
            self.call()

    def end_after(self, seconds: float, waiting: "asyncio.Future[None]") -> None:
        """Have the coroutine fail by TimeoutError after so many seconds, or up to a second later.

        One timer serves all: most waits end long before, and a timer of each costs more than they.
        """
        loop = asyncio.get_running_loop()
        self._ends[waiting] = loop.time() + seconds
        if not self._is_watching:
            self._is_watching = True
            loop.call_later(min(LOOK_SECONDS, seconds), self._look)

    def forget(self, waiting: "asyncio.Future[None]") -> None:
        """Forget the end of a wait that is over."""
        self._ends.pop(waiting, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for waiting, end in self._ends.items():
            if now >= end and not waiting.done():
                waiting.set_exception(TimeoutError())
        self._is_watching = bool(self._ends)
        if self._is_watching:
            loop.call_later(LOOK_SECONDS, self._look)


_deliveries: "WeakKeyDictionary[Loop, _Deliveries]" = WeakKeyDictionary()
_lock = Lock()
_here = local()  # `held`: the deliveries that the block of this thread has yet to call


@contextmanager
def handed_over_together() -> Iterator[None]:
    """Hand the results that this thread sets in the block over at its end.

    The first one would wake the loop, which takes the interpreter from this thread: the others
    would come one by one, and each by a turn of its own.
    """
    outer: set[_Deliveries] | None = getattr(_here, "held", None)
    held = _here.held = set() if outer is None else outer
    try:
        yield
    finally:
        _here.held = outer
        for deliveries in held if outer is None else ():
            deliveries.call()


async def settled(future: "Future[Result]", *, within: float | None = None) -> Result:
    """Return a thread's result, or raise its error; if this is cancelled, so is the future.

    If the future is cancelled, so is this, by the error that asyncio knows.

    Raises:
        TimeoutError: it took longer than `within` seconds; the future is cancelled.
    """
    loop = asyncio.get_running_loop()
    deliveries = _deliveries.get(loop)
    if deliveries is None:
        with _lock:
            deliveries = _deliveries.setdefault(loop, _Deliveries(loop))
    waiting: asyncio.Future[None] = loop.create_future()
    future.add_done_callback(lambda _: deliveries.put(waiting))
    if within is not None:
        deliveries.end_after(within, waiting)
    try:
        await waiting
    except (asyncio.CancelledError, TimeoutError):
        future.cancel()
        raise
    finally:
        deliveries.forget(waiting)
    try:
        return future.result()  # which is there: every look at a future takes a lock
    except CancelledError:
        raise asyncio.CancelledError from None
