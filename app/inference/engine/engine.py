"""Images through a composition: opens spaces, composes deltas, runs the forward pass.

Everything it holds can be made again from rows and blobs: opened spaces, loaded components, and
composed deltas with the sums that the next composition continues.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from time import monotonic
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch

import tangent
from app.database.tables import Component, Space
from app.errors import Invalid
from app.files.blobs import LocalBlobs
from app.images.budget import Budget
from app.images.decoder import decoder_of
from app.images.image_files import BadImage
from app.inference.deletion_gate import Gate
from app.inference.engine.batches import Batches
from app.inference.engine.composed_deltas import ComposedDeltas
from app.inference.engine.loaded_components import LoadedComponents
from app.inference.engine.orders import Batch, Company
from app.inference.opened_spaces import OpenedSpaces
from app.server.metrics import Metrics
from app.server.transfers import Transfers
from app.settings import Settings
from tangent import open_space
from tangent.composition.attribution import Attribution, attribute, logits_by_component
from tangent.composition.incremental import Source
from tangent.space import device_of
from tangent.training import downdate

TRAINED = "float32"  # the precision of every training, whatever that of answers
CANARY_SECONDS = 30  # a forward pass this recent proves the engine as well as a new one would

Members = Sequence[tuple[Component, float | None]]


class Passed(NamedTuple):
    """Images that went through the network."""

    logits: np.ndarray  # float32 (images, labels of the delta)
    queued: float  # seconds until the first batch with them began
    forward: float  # seconds of the batches with them


def _source(row: Component) -> Source:
    return Source(row.blob_key or "", str(row.sha256))


def _check_finite(*logits: torch.Tensor) -> None:
    if not all(torch.isfinite(each).all() for each in logits):
        raise Invalid(
            "weights_too_large",
            "the logits overflow with these weights: use weights of an ordinary size",
        )


def nothing(space: tangent.Space) -> tangent.Delta:
    """Return the zero delta with one label."""
    base = space.suffix.base if space.suffix else {}
    directions = {name: torch.zeros_like(tensor) for name, tensor in base.items()}
    head = torch.zeros(1, space.readout_width, dtype=torch.float64)
    return tangent.Delta(("canary",), head, directions)


class Engine:
    """Serves compositions on one device."""

    def __init__(self, settings: Settings, blobs: LocalBlobs, metrics: Metrics) -> None:
        self.settings, self.blobs, self.metrics = settings, blobs, metrics
        self.device = device_of(settings.device)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.gate, self.transfers = Gate(), Transfers()
        self.spaces = OpenedSpaces(self._open)
        metrics.spaces_unavailable.set_function(self.spaces.count_unavailable)
        self.batches = Batches(
            most_images=settings.max_batch_size,
            wait_seconds=settings.max_wait_ms / 1000,
            most_waiting=settings.max_waiting_images,
            seen=self._note_batch,
        )
        metrics.waiting_images.set_function(lambda: self.batches.waiting)
        self._decoder = decoder_of(settings)
        self._loaded = LoadedComponents(blobs)
        self._composed = ComposedDeltas(self._loaded.get, settings.composition_bytes, metrics)
        self._respecting = Lock()
        self._epoch = 0  # number of the last receipt that what is in memory is known to respect
        self._forwarded_at = float("-inf")

    def open(
        self, backbone: str, scope: str, declared: Sequence[str], *, precision: str | None = None
    ) -> tangent.Space:
        """Return the opened space, from memory if it is one of the last few.

        The default precision is that of the settings.
        """
        return self.spaces.open(backbone, scope, declared, precision or self.settings.precision)

    def _open(
        self, backbone: str, scope: str, declared: tuple[str, ...], precision: str
    ) -> tangent.Space:
        return open_space(backbone, scope, declared, device=str(self.device), precision=precision)

    def space(self, row: Space, *, precision: str | None = None) -> tangent.Space:
        """Return the opened space of this row.

        Raises:
            SpaceUnavailable: `space_changed` or `space_unavailable`.
        """
        return self.spaces.of(row, precision or self.settings.precision)

    def check_available(self, row: Space) -> None:
        """Check that the space is not known to be unavailable; opens nothing.

        Raises:
            SpaceUnavailable: `space_changed` or `space_unavailable`.
        """
        fault = self.spaces.fault(row)
        if fault is not None:
            raise fault.error()

    def read(
        self, row: Space, files: Sequence[bytes], budget: Budget
    ) -> list[torch.Tensor | BadImage]:
        """Return the network's input (3, S, S) from each image file, or what is wrong with it."""
        return self._decoder.inputs(files, self.space(row).preprocess, budget)

    def delta(self, row: Space, members: Members, rule: str) -> tangent.Delta:
        """Return the composed delta, from memory or from the component files.

        Raises:
            DamagedFile: also when a component was deleted by another process in between.
        """
        parts = [(_source(part), weight) for part, weight in members]
        return self._composed.get(self.space(row), parts, rule)

    def run(
        self,
        row: Space,
        inputs: Sequence[torch.Tensor],
        delta: tangent.Delta,
        *,
        company: Company = "mixed",
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Passed:
        """Pass the images through the composition, in batches with those of other requests.

        Raises:
            TooManyRequests: `queue_full`.
            Left: `is_wanted` returned False while they waited.
            Invalid: `weights_too_large`.
        """
        order = self.batches.run(
            self.space(row), inputs, delta, company=company, is_wanted=is_wanted
        )
        logits = order.done.result()
        _check_finite(logits)
        return Passed(logits.numpy(), order.queued, order.forward)

    def logits(
        self, row: Space, inputs: Sequence[torch.Tensor], delta: tangent.Delta
    ) -> np.ndarray:
        """Return the composition's logits, float32 (images, labels of the delta)."""
        return self.run(row, inputs, delta).logits

    def _note_batch(self, batch: Batch, seconds: float) -> None:
        self.metrics.batch.observe(sum(len(images) for _, images in batch))
        self.metrics.batch_compositions.observe(len({id(order.delta) for order, _ in batch}))
        self.metrics.forward_seconds.observe(seconds)
        self._forwarded_at = monotonic()

    def attribution(
        self, row: Space, inputs: Sequence[torch.Tensor], members: Members, rule: str
    ) -> Attribution:
        """Return the attribution of the composition's answer, components in the members' order.

        Raises:
            DamagedFile: also when a component was deleted by another process in between.
        """
        space, weights = self.space(row), [weight for _, weight in members]
        parts = list(zip(self.components(members), weights, strict=True))
        shas = [str(part.sha256) for part, _ in members]
        images, turn = torch.stack(list(inputs)), self.batches.turn
        found = attribute(space, images, parts, rule, shas=shas, turn=turn)
        _check_finite(found.base.logits, *found.shares, *(r.logits for r in found.rests if r))
        self._forwarded_at = monotonic()
        return found

    def components(self, members: Members) -> list[tangent.Component]:
        """Return the members' components, mapped.

        Raises:
            DamagedFile: also when a component was deleted by another process in between.
        """
        return [self._loaded.get(_source(part)) for part, _ in members]

    def logits_by_component(
        self,
        row: Space,
        inputs: Sequence[torch.Tensor],
        parts: Sequence[tangent.Component],
        labels: tuple[str, ...],
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return the base's logits of these labels, and every component's change of them."""
        space = self.space(row)
        with self.batches.turn:
            found = logits_by_component(space, torch.stack(list(inputs)), parts, labels)
        self._forwarded_at = monotonic()
        return found

    def without(
        self,
        row: Space,
        component: tangent.Component,
        inputs: Sequence[torch.Tensor],
        labels: Sequence[str],
    ) -> tangent.Component:
        """Return `tangent.without` in the precision of trainings."""
        space = self.space(row, precision=TRAINED)
        with self.batches.turn:
            return downdate.without(space, component, torch.stack(list(inputs)), labels)

    def forget(self, shas: Sequence[str]) -> None:
        """Drop every component with one of these sha256, and what was composed with it.

        A deletion in this process calls this once, before the files go: the components are
        subtracted from the sums, which stay. `respect` then drops nothing for the deletion's own
        receipt; for another process's receipt in between it still does, as the numbers then differ.
        """
        with self._respecting:
            found = self._composed.forget(shas)
            self._loaded.forget(shas)
            self._epoch += 1
            self._release(found)

    def respect(self, epoch: int) -> None:
        """Drop the composed deltas if a process has deleted; `epoch` is the last receipt's number.

        Answers cannot use a deleted component's delta anyway, as they start from the rows; this
        frees the memory.
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

    def canary(self, row: Space) -> None:
        """Run one grey image through the space, unless a forward pass ended just now."""
        if monotonic() - self._forwarded_at < CANARY_SECONDS:
            return
        space = self.space(row)
        grey = PIL.Image.new("RGB", (space.image_size, space.image_size), (128, 128, 128))
        self.logits(row, [space.preprocess(grey)], nothing(space))

    def close(self) -> None:
        """End the batches; release spaces, components and deltas."""
        self.batches.close()
        self.spaces.close()
        self._composed.clear()
        self._loaded.clear()
