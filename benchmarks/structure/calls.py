"""Calls into modules of the project, as the interpreter's profiling hook reports them."""

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple


class Call(NamedTuple):
    """A call into the project; the caller is None where no module of the project is behind it."""

    caller: str | None
    module: str
    function: str


class Trip(NamedTuple):
    """The extent of some calls through the project."""

    modules: int  # entered, each counted once
    functions: int  # distinct by module and name
    hops: int  # calls from one module into another; a resumed coroutine counts as called


class Trips(NamedTuple):
    """The extents of three requests."""

    prediction: Trip  # by a selection that answered just before
    first: Trip  # the same, when the selection had just changed: it is composed and calibrated
    deletion: Trip  # of one image


class Calls:
    """Records the calls that threads make into the project, if they start while it watches.

    The caller is the nearest module of the project, whatever libraries lie between. Threads that
    work by a clock of their own, whether there is a request or not, are left out: see `resting`.
    """

    def __init__(self, root: Path, packages: Iterable[str]) -> None:
        self._places = tuple(f"{root / package}/" for package in packages)
        self._modules: dict[str, str | None] = {}  # by file
        self._recorded: list[Call] = []
        self._recording = False
        self._resting, self._by_a_clock = False, set[int]()

    @property
    def trip(self) -> Trip:
        """The extent of the calls that were recorded last."""
        return Trip(
            modules=len({call.module for call in self._recorded}),
            functions=len({(call.module, call.function) for call in self._recorded}),
            hops=sum(call.caller not in (None, call.module) for call in self._recorded),
        )

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hook into this thread and those that start in the block; put the old hooks back."""
        here, in_threads = sys.getprofile(), threading.getprofile()
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(here)
            threading.setprofile(in_threads)  # type: ignore[arg-type]

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the calls made during the block, and forget those of the block before."""
        self._recorded, self._recording = [], True
        try:
            yield
        finally:
            self._recording = False

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Leave out from now on the threads that make calls in the block, when nothing is asked."""
        self._resting = True
        try:
            yield
        finally:
            self._resting = False

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if not (self._recording or self._resting) or event != "call":
            return
        module, thread = self._module(frame), threading.get_ident()
        if module is None or thread in self._by_a_clock:
            return
        if self._resting:
            self._by_a_clock.add(thread)
            return
        caller, behind = None, frame.f_back
        while caller is None and behind is not None:
            caller, behind = self._module(behind), behind.f_back
        self._recorded.append(Call(caller, module, frame.f_code.co_name))

    def _module(self, frame: FrameType) -> str | None:
        file = frame.f_code.co_filename
        if file not in self._modules:
            self._modules[file] = file if file.startswith(self._places) else None
        return self._modules[file]
