"""The engine: opens spaces, composes deltas and passes images through them, on one device.

It takes and gives plain values of app.inference.models, so that it can run in this process or in
another. Everything it holds can be made again from blobs: opened spaces, loaded components, and
composed deltas with the sums that the next composition continues.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import torch

import tangent
from app.files.blobs import LocalBlobs
from app.inference.engine import changes, hashes
from app.inference.engine.batches import Batches
from app.inference.engine.calculations import Calculations
from app.inference.engine.composed_deltas import ComposedDeltas
from app.inference.engine.loaded_components import LoadedComponents
from app.inference.engine.metrics import EngineMetrics
from app.inference.engine.orders import Batch, Order
from app.inference.engine.values import (
    attributed,
    check_finite,
    described,
    effects_of,
    inputs_of,
    nothing,
)
from app.inference.models import (
    Attributed,
    Company,
    Effects,
    Model,
    OpenedSpace,
    Passed,
    Pixels,
    Source,
    SpaceKey,
    Written,
)
from app.inference.space_cache import SpaceCache
from app.settings import Settings
from tangent import open_space
from tangent.composition.attribution import attribute, logits_by_component
from tangent.space import device_of

CANARY_SECONDS = 30  # a batch this recent proves the engine as well as a new one would


class Engine(Calculations):
    """Serves models on one device, for any number of threads."""

    def __init__(self, settings: Settings, blobs: LocalBlobs, metrics: EngineMetrics) -> None:
        self.metrics = metrics
        self.device = device_of(settings.device)
        self.device_name = str(self.device)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._spaces = SpaceCache[tangent.Space](self._open)
        self.batches = Batches(
            most_images=settings.max_batch_size,
            wait_seconds=settings.max_wait_ms / 1000,
            most_waiting=settings.max_waiting_images,
            seen=self._note_batch,
        )
        metrics.show_waiting(lambda: self.batches.waiting)
        self._loaded = LoadedComponents(blobs)
        self._composed = ComposedDeltas(self._loaded.get, settings.composition_bytes, metrics)
        self._respecting = Lock()
        self._forwarded_at = float("-inf")
        self._epoch = 0  # number of the last receipt that what is in memory is known to respect

    def open(self, key: SpaceKey, *, again: bool = False) -> OpenedSpace:
        """Open the space, from its weights as they are now if `again`; return its properties."""
        if again:
            self._spaces.drop(key)
        return described(self._spaces.open(key))

    def opened(self, key: SpaceKey) -> tangent.Space:
        """Return the opened space itself."""
        return self._spaces.open(key)

    def _open(self, key: SpaceKey) -> tangent.Space:
        how = {"device": str(self.device), "precision": key.precision}
        return open_space(key.backbone, key.scope, key.declared, **how)

    def probe(self, key: SpaceKey) -> OpenedSpace:
        """Return the properties with which the space opens now; keep nothing of it."""
        return described(self._open(key))

    def metrics_text(self) -> str:
        """Return the engine's metrics in Prometheus' text format."""
        return self.metrics.text().decode()

    def environment(self) -> str:
        """Return the hardware and libraries on which the bits of a result depend."""
        return tangent.environment(self.device)

    def compose(self, model: Model) -> tuple[str, ...]:
        """Compose the model, unless it is in memory; return its labels.

        Raises:
            DamagedFile: also when a component was deleted by another process in between.
        """
        return self.delta(model).labels

    def delta(self, model: Model) -> tangent.Delta:
        """Return the model's composed delta itself, as `compose`."""
        return self._composed.get(self.opened(model.space), model.parts, model.rule)

    def run(self, model: Model, pixels: Pixels, *, company: Company = "mixed") -> Passed:
        """Pass the images through the model, in batches with those of other requests.

        Raises:
            DamagedFile: as `compose`.
            TooManyRequests: `queue_full`.
            Invalid: `weights_too_large`.
        """
        return self.begin(model, pixels, company=company).result()

    def begin(
        self, model: Model, pixels: Pixels, *, company: Company = "mixed"
    ) -> "Future[Passed]":
        """Compose the model and let the images wait for their batches; see `run`.

        What still waits when the future is cancelled is not computed.
        """
        space, started = self.opened(model.space), perf_counter()
        delta = self.delta(model)
        composed = perf_counter() - started
        passed: Future[Passed] = Future()
        order = Order(space, pixels, delta, company, lambda: not passed.cancelled())

        def end(done: "Future[torch.Tensor]") -> None:
            if not passed.set_running_or_notify_cancel():
                return
            try:
                logits = done.result()
                check_finite(logits)
            except BaseException as error:
                passed.set_exception(error)
            else:
                numbers = logits.numpy()
                self.metrics.queue_seconds.observe(order.queued)
                passed.set_result(
                    Passed(delta.labels, numbers, composed, order.queued, order.forward)
                )

        self.batches.enqueue(order)
        order.done.add_done_callback(end)
        return passed

    def begins_at_once(self, model: Model) -> bool:
        """Return whether `begin` takes no time, as space and model are in memory."""
        space = self._spaces.held(model.space)
        return space is not None and self._composed.has(space, model.parts, model.rule)

    def _note_batch(self, batch: Batch, seconds: float) -> None:
        self.metrics.batch.observe(sum(len(images) for _, images in batch))
        self.metrics.batch_compositions.observe(len({id(order.delta) for order, _ in batch}))
        self.metrics.forward_seconds.observe(seconds)
        self._forwarded_at = monotonic()

    def attribution(self, model: Model, pixels: Pixels) -> Attributed:
        """Return the attribution of the model's answer to its parts.

        Raises as `run`.
        """
        space = self.opened(model.space)
        parts = [(self._loaded.get(source), weight) for source, weight in model.parts]
        shas = [source.sha256 for source, _ in model.parts]
        images, turn = inputs_of(space, pixels), self.batches.turn
        found = attribute(space, images, parts, model.rule, shas=shas, turn=turn)
        return attributed(found)

    def effects(
        self, key: SpaceKey, sources: Sequence[Source], pixels: Pixels, labels: tuple[str, ...]
    ) -> Effects:
        """Return the base's logits of these labels, and every component's change of them.

        Raises as `compose`.
        """
        space, parts = self.opened(key), [self._loaded.get(source) for source in sources]
        with self.batches.turn:
            base, moved = logits_by_component(space, inputs_of(space, pixels), parts, labels)
        return effects_of(base, moved)

    def change(
        self,
        key: SpaceKey,
        source: Source,
        path: Path,
        *,
        removed: Sequence[tuple[np.ndarray, str]] = (),
        renamed: Mapping[str, str] | None = None,
    ) -> Written:
        """Write the component without these images and with these label names to `path`.

        Raises:
            NotDowndatable: it has to be trained.
            DamagedFile: as `compose`.
        """
        space = self.opened(key)
        component = self._loaded.get(source)
        pixels = [image for image, _ in removed]
        with self.batches.turn:
            changed = changes.changed(
                space, component, pixels, [label for _, label in removed], renamed or {}
            )
        return changes.written(changed, path)

    def accept(self, key: SpaceKey, received: Path, path: Path) -> Written:
        """Check a component of elsewhere against the space, and write it to `path` as ours.

        Raises:
            TangentError: it cannot serve in this space.
        """
        component = tangent.Component.load(received)
        return changes.written(tangent.accepted(self.opened(key), component), path)

    def answer_hash(self, model: Model, *, from_files: bool = False) -> dict[str, Any]:
        """Return the hash of the model's answer to the hash images, and what it depends on.

        A model without parts has no answer. `from_files` composes past all memory.
        """
        space = self.opened(model.space)
        delta = None
        if model.parts and from_files:
            delta = hashes.composed(space, model, self._loaded.read)
        elif model.parts:
            delta = self.delta(model)
        found = hashes.taken(space, delta, self.batches)
        return found | {"environment": self.hash_environment(model.space)}

    def hash_environment(self, key: SpaceKey) -> dict[str, Any]:
        """Return what the bits of an answer depend on besides the model."""
        about = hashes.environment(self.opened(key), self.device)
        return about | {"precision": key.precision}

    def forget(self, shas: Sequence[str]) -> None:
        """Drop every component with one of these sha256, and what was composed with it.

        A deletion calls this once, before the files go: components are subtracted from the sums.
        """
        with self._respecting:
            found = self._composed.forget(shas)
            self._loaded.forget(shas)
            self._epoch += 1
            self._release(found)

    def forget_what_came_back(self, shas: Sequence[str]) -> None:
        """Drop all if an overtaken prediction has loaded these again; call this without files."""
        with self._respecting:
            if self._composed.holds(shas) or self._loaded.holds(shas):
                self._loaded.clear()
                self._release(self._composed.clear())

    def respects(self, epoch: int) -> bool:
        """Return whether `respect` of this epoch has nothing to do."""
        return epoch == self._epoch

    def respect(self, epoch: int) -> None:
        """Drop the composed deltas if a process has deleted; `epoch` is the last receipt's number.

        Answers start from the rows, so they cannot use what was deleted; this frees the memory.
        """
        with self._respecting:
            if epoch != self._epoch:
                found = self._composed.clear()
                self._loaded.clear()
                self._epoch = epoch
                self._release(found)

    def _release(self, was_any: bool) -> None:
        if was_any and self.device.type == "cuda":
            torch.cuda.empty_cache()

    def canary(self, key: SpaceKey) -> None:
        """Pass one grey image through the space, unless a batch ended just now."""
        if monotonic() - self._forwarded_at < CANARY_SECONDS:
            return
        space = self.opened(key)
        height, width = space.preprocess.geometry.crop
        grey = np.full((height, width, 3), 128, np.uint8)
        order = Order(space, [grey], nothing(space), "mixed", lambda: True)
        self.batches.run(order)

    def close(self) -> None:
        """End the batches; release spaces, components and deltas."""
        self.batches.close()
        self._spaces.close()
        self._composed.clear()
        self._loaded.clear()
