"""Components in files, to compose from, with a record of which files were read."""

import threading
from pathlib import Path

import torch

import tangent
from tangent.components.source import Source
from tests.support.models import delta_bytes, space
from tests.support.random_components import components

SECONDS = 30
WEIGHTS = (0.1, -2.5, 1 / 3, 7.0)


class SavedComponents:
    """Component files by key, and which of them were read."""

    def __init__(self, scope: str, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.scope, self.folder = scope, folder
        self.read: list[str] = []
        self.sources: list[Source] = []
        for i, component in enumerate(components(scope, dtype)):
            self.add(component, str(i))

    def add(self, component: tangent.Component, key: str) -> None:
        self.sources.append(Source(key, component.save(self.folder / key)))

    def load(self, source: Source) -> tangent.Component:
        self.read.append(source.key)
        return tangent.Component.load(self.folder / source.key, directions_checked=False)

    def parts(self, chosen, rule="average"):
        weights = [WEIGHTS[i] if rule == "weighted" else None for i in chosen]
        return [(self.sources[i], weight) for i, weight in zip(chosen, weights, strict=True)]

    def fresh(self, chosen, rule="average") -> bytes:
        """Return the bytes of the delta that is composed from nothing."""
        parts = self.parts(chosen, rule)
        loaded = [(tangent.Component.load(self.folder / s.key), weight) for s, weight in parts]
        shas = [source.sha256 for source, _ in parts]
        return delta_bytes(tangent.compose(space("mini", self.scope), loaded, rule, shas=shas))


class HeldUpComponents(SavedComponents):
    """Component files, of which a chosen one is read only once `go` is set."""

    held_up: str | None = None

    def hold_up(self, key: str) -> None:
        self.held_up, self.begun, self.go = key, threading.Event(), threading.Event()

    def load(self, source: Source) -> tangent.Component:
        if source.key == self.held_up:
            self.begun.set()
            assert self.go.wait(SECONDS)
        return super().load(source)
