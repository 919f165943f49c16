"""Faster passes of the opened spaces, made in a thread of their own while the engine answers."""

import logging
from threading import Event, Lock, Thread
from weakref import WeakSet

import tangent
from tangent.jvp.compiled.passes import Passes, Turn

MAX_CLOSING_SECONDS = 5.0  # for a step under way; a compilation may take minutes

log = logging.getLogger(__name__)


class FasterPasses:
    """Makes what the watched spaces lack; its thread begins with the first that can have any."""

    def __init__(self) -> None:
        self._spaces: WeakSet[tangent.Space] = WeakSet()
        self._lock, self._woken = Lock(), Event()
        self._thread: Thread | None = None
        self._is_closed = False

    def watch(self, space: tangent.Space, turn: Turn) -> tangent.Space:
        """Make the space's faster passes from now on, and return it.

        `turn` keeps the device for its block.
        """
        if space.passes is not None:
            with self._lock:
                self._spaces.add(space)
                if self._thread is None and not self._is_closed:
                    self._thread = Thread(
                        target=self._work, args=(turn,), name="faster-passes", daemon=True
                    )
                    self._thread.start()
        return space

    def wake(self) -> None:
        """Look for passes to make, as something was asked for."""
        self._woken.set()

    def forget(self) -> None:
        """Overwrite the compositions and images that passes keep of their last answers."""
        for passes in self._all():
            passes.forget()

    def close(self) -> None:
        """End the thread after the step that it takes, if that does not take too long."""
        self._is_closed = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(MAX_CLOSING_SECONDS)

    def _all(self) -> list[Passes]:
        with self._lock:
            return [space.passes for space in self._spaces if space.passes is not None]

    def _work(self, turn: Turn) -> None:
        told: set[str] = set()
        while not self._is_closed:
            self._woken.wait()
            self._woken.clear()
            while not self._is_closed and any(each.make_next(turn) for each in self._all()):
                pass
            for fault in {fault for each in self._all() for fault in each.faults} - told:
                log.warning("%s; the engine answers them as before", fault)
                told.add(fault)
