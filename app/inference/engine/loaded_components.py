"""Loaded components: each file is read and hashed once, and mapped as long as it is in use."""

import os
from collections import OrderedDict
from collections.abc import Collection
from threading import Lock
from typing import NamedTuple

import tangent
from app.files import component_files
from app.files.blobs import LocalBlobs
from app.inference.engine.makings import Making, Makings
from app.inference.models import Source

MAX_LOADED = 512  # each keeps a mapping, whose pages the system may take back


class Loaded(NamedTuple):
    """A component, and the state of its file when it was loaded."""

    component: tangent.Component
    state: tuple[int, ...]


class LoadedComponents:
    """The components that compositions used last, for any number of threads."""

    def __init__(self, blobs: LocalBlobs) -> None:
        self._blobs = blobs
        self._lock = Lock()
        self._loaded: OrderedDict[Source, Loaded] = OrderedDict()
        self._makings = Makings()

    def get(self, source: Source) -> tangent.Component:
        """Return the component, mapped; a file that was written since is read again.

        Raises:
            DamagedFile: also when a component was deleted by another process in between.
        """
        with self._lock:
            known = self._loaded.get(source)
        if known is not None and known.state == self._state(source):
            with self._lock:
                if source in self._loaded:
                    self._loaded.move_to_end(source)
            return known.component
        with self._lock:
            making = self._makings.begin([source.sha256])
        state = self._state(source)
        component = self.read(source)
        if state is not None and state == self._state(source):
            self._keep(source, Loaded(component, state), making)
        return component

    def read(self, source: Source) -> tangent.Component:
        """Return the component, read from its file now.

        Raises:
            DamagedFile: as `get`.
        """
        return component_files.load(self._blobs, source.key, source.sha256)

    def forget(self, shas: Collection[str]) -> None:
        """Drop the components with these SHA-256."""
        with self._lock:
            self._makings.overtake(shas)
            for source in [each for each in self._loaded if each.sha256 in shas]:
                del self._loaded[source]

    def holds(self, shas: Collection[str]) -> bool:
        """Return whether one of these components is or will be kept."""
        with self._lock:
            kept = any(source.sha256 in shas for source in self._loaded)
            return kept or self._makings.have(shas)

    def clear(self) -> None:
        """Drop all components."""
        with self._lock:
            self._makings.overtake_all()
            self._loaded.clear()

    def _keep(self, source: Source, loaded: Loaded, making: Making) -> None:
        with self._lock:
            if not making.is_overtaken:
                self._loaded[source] = loaded
                if len(self._loaded) > MAX_LOADED:
                    self._loaded.popitem(last=False)

    def _state(self, source: Source) -> tuple[int, ...] | None:
        try:
            found = os.stat(self._blobs.path(source.key, must_exist=False))
        except OSError:
            return None
        return component_files.state_of(found)
