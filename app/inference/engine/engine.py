"""The engine: opens spaces, composes deltas and passes images through them, on one device.

It takes and gives plain values of app.inference.models, so that it can run in this process or in
another. Everything it holds can be made again from blobs: opened spaces, loaded components, and
composed deltas with the sums that the next composition continues.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import torch

import tangent
from app.files.blobs import LocalBlobs
from app.inference.engine import calibrations, hashes
from app.inference.engine.batches import Batches
from app.inference.engine.calculations import Calculations
from app.inference.engine.changes import ComponentChanges
from app.inference.engine.left_out import LeavingOut
from app.inference.engine.memory import Memory
from app.inference.engine.metrics import EngineMetrics
from app.inference.engine.orders import Answers, Batch, Order
from app.inference.engine.values import (
    attributed,
    check_finite,
    described,
    effects_of,
    grey,
    inputs_of,
    nothing,
)
from app.inference.models import (
    Attributed,
    Company,
    Copies,
    Effects,
    Model,
    OpenedSpace,
    Passed,
    Pixels,
    Source,
    SpaceKey,
)
from app.inference.space_cache import SpaceCache
from app.settings import Settings
from tangent import open_space
from tangent.composition.attribution import attribute, logits_by_component
from tangent.spaces.card import probe_of, write_card
from tangent.spaces.devices import device_of

CANARY_SECONDS = 30  # a batch this recent proves the engine as well as a new one would


class Engine(Memory, Calculations, ComponentChanges, LeavingOut):
    """Serves models on one device, for any number of threads."""

    def __init__(self, settings: Settings, blobs: LocalBlobs, metrics: EngineMetrics) -> None:
        self._tf32, self._compile = settings.tf32 == "on", settings.compile
        device = device_of(settings.device, tf32=self._tf32)  # before anyone asks for `environment`
        super().__init__(settings, blobs, metrics, device)
        self.metrics = metrics
        self.device_name = str(self.device)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._spaces = SpaceCache[tangent.Space](self._found)
        self.batches = Batches(
            most_images=settings.max_batch_size,
            wait_seconds=settings.max_wait_ms / 1000,
            most_waiting=settings.max_waiting_images,
            seen=self._note_batch,
        )
        metrics.show_waiting(lambda: self.batches.waiting)
        self._forwarded_at = float("-inf")

    def open(self, key: SpaceKey, *, again: bool = False) -> OpenedSpace:
        """Open the space, from its weights as they are now if `again`; return its properties."""
        if again:
            self._spaces.drop(key)
            self._spaces.drop(_unnamed(key))
        return described(self._spaces.open(key))

    def opened(self, key: SpaceKey) -> tangent.Space:
        """Return the opened space itself."""
        return self._spaces.open(key)

    def _found(self, key: SpaceKey) -> tangent.Space:
        """Return the space that was opened to be made just now, if it is this one; else open it."""
        made = self._spaces.held(_unnamed(key)) if key.fingerprint else None
        return made if made and made.fingerprint == key.fingerprint else self._open(key)

    def _open(self, key: SpaceKey) -> tangent.Space:
        how: dict[str, Any] = {"device": str(self.device), "precision": key.precision}
        how |= {"tf32": self._tf32, "compile": self._compile, "fingerprint": key.fingerprint}
        space = open_space(key.backbone, key.scope, key.declared, **how)
        return self._passes.watch(space, self.batches.turn)

    def probe(self, key: SpaceKey) -> OpenedSpace:
        """Return the properties with which the space opens now; keep nothing of it."""
        return described(self._open(key))

    def write_card(self, key: SpaceKey, name: str, path: Path) -> str:
        """Write the card of the space, which has this name, to `path`; return its SHA-256.

        Raises:
            BadCard: its backbone can be built nowhere else.
        """
        space = self.opened(key)
        with self.batches.turn:
            probe = probe_of(space)
        return write_card(space, name, path, probe)

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

    def run(
        self,
        model: Model,
        pixels: Pixels,
        *,
        company: Company = "mixed",
        judged_as: Model | None = None,
    ) -> Passed:
        """Pass the images through the model, in batches with those of other requests.

        `judged_as`: the model by whose calibration they are judged; if that is not in memory,
        nothing is computed.

        Raises:
            DamagedFile: as `compose`.
            TooManyRequests: `queue_full`.
            Invalid: `weights_too_large`.
        """
        return self.begin(model, pixels, company=company, judged_as=judged_as).result()

    def begin(
        self,
        model: Model,
        pixels: Pixels,
        *,
        company: Company = "mixed",
        judged_as: Model | None = None,
    ) -> "Future[Passed]":
        """Compose the model and let the images wait for their batches; see `run`.

        What still waits when the future is cancelled is not computed.
        """
        passed: Future[Passed] = Future()
        calibration = None if judged_as is None else self._calibrations.get(judged_as)
        if judged_as is not None and calibration is None:
            passed.set_result(calibrations.UNJUDGED)
            return passed
        space, started = self.opened(model.space), perf_counter()
        delta = self.delta(model)
        composed = perf_counter() - started
        leverage = None if calibration is None else calibration.leverage
        order = Order(space, pixels, delta, company, lambda: not passed.cancelled(), leverage)

        def end(done: "Future[Answers]") -> None:
            if not passed.set_running_or_notify_cancel():
                return
            try:
                answers = done.result()
                check_finite(answers.logits)
                found = calibrations.passed_of(order, answers, composed, calibration)
            except BaseException as error:
                passed.set_exception(error)
            else:
                self.metrics.queue_seconds.observe(order.queued)
                passed.set_result(found)

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
        self._passes.wake()

    def readouts(self, key: SpaceKey, pixels: Pixels) -> np.ndarray:
        """Return the features (images, D) that the head reads, as trainings see them."""
        space = self.opened(key)
        with self.batches.turn:
            return calibrations.readouts(space, inputs_of(space, pixels)).numpy()

    def calibrate(self, model: Model, readouts: np.ndarray, copies: Copies) -> None:
        """Calibrate the model by the readouts of training images, and keep the calibration.

        Raises as `compose`.
        """
        psi = torch.from_numpy(readouts.copy())
        self._calibrate(model, calibrations.Examples.of(model, psi, copies))

    def calibrate_again(self, model: Model) -> bool:
        """Calibrate it by what other weights of its components were calibrated by, if any were.

        A model that is calibrated is left as it is. Raises as `compose`.
        """
        is_calibrated = self._calibrations.get(model) is not None
        examples = self._calibrations.examples(model)
        if examples is not None and not is_calibrated:
            self._calibrate(model, examples)
        return examples is not None

    def _calibrate(self, model: Model, examples: calibrations.Examples) -> None:
        making = self._calibrations.begin(model)
        space = self.opened(model.space)
        components = [self._loaded.get(source) for source, _ in model.parts]
        found = calibrations.made(space, model, components, examples)
        self._calibrations.keep(model, found, examples, making)

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
        images, turn = inputs_of(space, pixels), self.batches.turn
        return effects_of(*logits_by_component(space, images, parts, labels, turn))

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
        return hashes.environment(self.opened(key), self.device)

    def canary(self, key: SpaceKey) -> None:
        """Pass one grey image through the space, unless a batch ended just now."""
        if monotonic() - self._forwarded_at < CANARY_SECONDS:
            return
        space = self.opened(key)
        self.batches.run(Order(space, [grey(space)], nothing(space), "mixed", lambda: True))

    def close(self) -> None:
        """End the batches; release spaces, components and deltas."""
        self.batches.close()
        self._passes.close()
        self._spaces.close()
        self._clear()


def _unnamed(key: SpaceKey) -> SpaceKey:
    """Return the key of a space to be made, which has no fingerprint yet."""
    return replace(key, fingerprint=None)
