"""The memory of an engine: loaded components, composed deltas and calibrations.

All of it can be made again from blobs and images. A deletion takes out what it has deleted.
"""

from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch

from app.files.blobs import LocalBlobs
from app.inference.engine.calibrations import Calibrations
from app.inference.engine.composed_deltas import ComposedDeltas
from app.inference.engine.faster_passes import FasterPasses
from app.inference.engine.loaded_components import LoadedComponents
from app.inference.engine.metrics import EngineMetrics
from app.inference.engine.named_temperatures import NamedTemperatures
from app.inference.models import Model
from app.settings import Settings
from tangent.solvers.temperature import fitted_temperature

CALIBRATIONS = 2  # of composition_bytes, calibrations take one part in so many


class Memory:
    """The memory of an engine on one device, for any number of threads."""

    def __init__(
        self, settings: Settings, blobs: LocalBlobs, metrics: EngineMetrics, device: torch.device
    ) -> None:
        self.device = device
        self._loaded = LoadedComponents(blobs)
        self._composed = ComposedDeltas(self._loaded.get, settings.composition_bytes, metrics)
        self._calibrations = Calibrations(settings.composition_bytes // CALIBRATIONS)
        self._named = NamedTemperatures()
        self._passes = FasterPasses()
        self._respecting = Lock()
        self._epoch = 0  # number of the last receipt that what is in memory is known to respect

    def forget(self, shas: Sequence[str]) -> None:
        """Drop every component with one of these sha256, and what was made with it.

        A deletion calls this once, before the files go: components are subtracted from the sums.
        """
        with self._respecting:
            found = self._composed.forget(shas)
            self._calibrations.forget(shas)
            self._named.clear()
            self._loaded.forget(shas)
            self._passes.forget()
            self._epoch += 1
            self._release(found)

    def forget_what_came_back(self, shas: Sequence[str]) -> None:
        """Drop all if an overtaken prediction has loaded these again; call this without files."""
        held = (self._composed, self._calibrations, self._loaded)
        with self._respecting:
            self._passes.forget()
            if any(each.holds(shas) for each in held):
                self._clear()

    def respects(self, epoch: int) -> bool:
        """Return whether `respect` of this epoch has nothing to do."""
        return epoch == self._epoch

    def respect(self, epoch: int) -> None:
        """Drop everything if a process has deleted; `epoch` is the last receipt's number.

        Answers start from the rows, so they cannot use what was deleted; this frees the memory.
        """
        with self._respecting:
            if epoch != self._epoch:
                self._epoch = epoch
                self._clear()

    def named_temperature(self, model: Model, name: str) -> tuple[float | None, int]:
        """Return the temperature of this name, if it is in memory, and a number for fitting it."""
        return self._named.get(model, name)

    def fit_temperature(
        self, model: Model, name: str, logits: np.ndarray, truth: Sequence[int], since: int
    ) -> float:
        """Fit a temperature to logits (n, K) with their right columns, and keep it by its name.

        `since`: the number that `named_temperature` gave before the images were read.
        """
        scores = torch.from_numpy(logits.copy()).double()
        found = fitted_temperature(scores, torch.tensor(list(truth)))
        self._named.keep(model, name, found, since)
        return found

    def _clear(self) -> None:
        found = self._composed.clear()
        self._calibrations.clear()
        self._named.clear()
        self._loaded.clear()
        self._passes.forget()
        self._release(found)

    def _release(self, was_any: bool) -> None:
        if was_any and self.device.type == "cuda":
            torch.cuda.empty_cache()
