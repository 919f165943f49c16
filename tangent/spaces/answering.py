"""The way of an answer: images go through the backbone once, then every delta gives its logits.

Where a space has faster passes (`tangent.jvp.compiled`), an answer goes through one of them if it
is there, and through the engine if not or if its bits are to be the engine's own (`exact`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from tangent.backbones.features import with_constant
from tangent.backbones.loading import Backbone
from tangent.backbones.preprocessing import Preprocessing
from tangent.backbones.suffix import Suffix
from tangent.components.delta import Delta
from tangent.errors import OutOfMemory
from tangent.jvp import Answerer, Engine, Prepared
from tangent.jvp.compiled.buckets import MAX_BUCKET
from tangent.jvp.compiled.passes import Passes
from tangent.jvp.compiled.recorder import Outputs
from tangent.jvp.compiled.recording import ANSWER, PUSH, ROWS
from tangent.jvp.fused_attention import fused_operations
from tangent.jvp.groups import Groups, groups_of
from tangent.spaces.heads import Head, read
from tangent.spaces.narrow import Narrow
from tangent.spaces.uploads import uploaded, uploaded_pixels

_Result = TypeVar("_Result")
CHUNK = 32  # images in one forward pass of a prediction on a processor; their caches hold so many
DIRECTIONS = 8  # in one pass of a whole chunk, whose memory they bound; of fewer images, more


class Answering:
    """The part of a space that answers; `tangent.spaces.space.Space` is the rest of it."""

    device: torch.device
    dtype: torch.dtype
    width: int  # of phi
    image_size: int
    scope: str
    model: nn.Module
    pretrained: Backbone
    preprocess: Preprocessing
    suffix: Suffix | None  # None at a linear scope, and so is the engine
    engine: Engine | None
    narrow: Narrow | None = None  # where answers are in 16 bits
    passes: Passes | None  # None where compilation is off
    fuses: bool  # may the engine use fused kernels, and trainings record steps? So unless it is off
    _heads: WeakKeyDictionary[Delta, Head]

    @property
    def chunk(self) -> int:
        """The most images in one forward pass of a prediction."""
        return CHUNK if self.device.type == "cpu" else MAX_BUCKET

    @property
    def answerer(self) -> Answerer | None:
        """The engine of answers; None at a linear scope."""
        raise NotImplementedError

    def answered_readout(self, images: Tensor) -> Tensor:
        """Return psi (B, D) of images (B, 3, S, S) at a linear scope, as answers read it."""
        raise NotImplementedError

    def base_rows(self, labels: Sequence[str]) -> Tensor:
        """Return a_l of every label (K, D) float64."""
        raise NotImplementedError

    def inputs(self, pixels: Sequence[np.ndarray]) -> Tensor:
        """Return the network's inputs (B, 3, S, S), on the device, from pixels of images.

        `pixels`: uint8 (S, S, 3) each, as `preprocess.geometry` makes them. The bits are those of
        `preprocess.normalize`; to a GPU go the bytes, which are a quarter of the inputs.

        Raises:
            OutOfMemory: the device has no room for them.
        """
        if self.device.type == "cpu":
            return self.preprocess.normalize(torch.from_numpy(np.stack(pixels)))
        return self._within_memory(
            lambda: self.preprocess.normalize(uploaded_pixels(pixels, self.device)), len(pixels)
        )

    def logits(self, images: Tensor, delta: Delta, *, exact: bool = False) -> Tensor:
        """Return h(x) (B, K) float32 of images (B, 3, S, S), columns in the delta's label order.

        h is affine in delta (eq. 2), and computed in passes of `chunk` images. `exact`: with the
        engine's own bits, which depend on nothing but these images, this delta and the chunk.

        Raises:
            OutOfMemory: the device has no room for one image, or if `exact` for a chunk.
        """
        return self.logits_of_each(images, [delta], exact=exact)[0]

    def logits_of_each(
        self, images: Tensor, deltas: Sequence[Delta], *, exact: bool = False
    ) -> list[Tensor]:
        """Return `logits` by every delta; the images go through the backbone once for all."""
        heads = [self._head(delta) for delta in deltas]
        chunks = [self._answers(some, heads, exact)[1] for some in images.split(self.chunk)]
        return [torch.cat(parts).float().cpu() for parts in zip(*chunks, strict=True)]

    def answers_of_own(
        self, images: Tensor, deltas: Sequence[Delta], own: Sequence[int], *, exact: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Return `logits` (K,) of each image by its own delta, `deltas[own[i]]`, and psi (D,).

        All layers take a mixed batch at once, each image along its own direction alone; if `exact`,
        or by faster passes, the frozen prefix does, and the other layers run once for each delta.
        Logits are on the CPU, psi is on the device.

        Raises:
            OutOfMemory: as `logits`.
        """
        heads = [self._head(delta) for delta in deltas]
        answers = [(torch.empty(0), torch.empty(0))] * len(images)
        for start in range(0, len(images), self.chunk):
            chunk, asked = images[start : start + self.chunk], own[start : start + self.chunk]
            found = self._of_own(chunk, heads, asked, exact)
            answers[start : start + len(chunk)] = found
        return answers

    def _of_own(
        self, images: Tensor, heads: Sequence[Head], own: Sequence[int], exact: bool
    ) -> list[tuple[Tensor, Tensor]]:
        """Return `answers_of_own` of one chunk."""
        if len(set(own)) == 1:
            psi, (logits,) = self._answers(images, [heads[own[0]]], exact)
            return list(zip(logits.float().cpu(), psi, strict=True))
        groups = groups_of(own, self.device)
        at_once = not exact and self.passes is None and self.answerer is not None
        found = self._at_once(images, heads, own, groups) if at_once else None
        if found is None:
            shared = self._shared(images, exact)
            found = [
                self._by_own(shared[index], heads[which], exact) for which, index in groups.places()
            ]
        # A copy waits for the device: the first one begins when all parts are under way.
        pairs = [
            pair for psi, logits in found for pair in zip(logits.float().cpu(), psi, strict=True)
        ]
        order = groups.order.tolist()
        return [pair for _, pair in sorted(zip(order, pairs, strict=True), key=itemgetter(0))]

    def _at_once(
        self, images: Tensor, heads: Sequence[Head], own: Sequence[int], groups: Groups
    ) -> list[tuple[Tensor, Tensor]] | None:
        """Return psi and the logits of every group by one pass; None where memory is short."""
        rows, prepared = self.rows(images), [head.prepared for head in heads]
        engine = cast(Answerer, self.answerer)
        try:
            with fused_operations(allowed=self.fuses):
                push = partial(engine.push_own, rows, prepared, own)
                phi, along = self._within_memory(push, len(rows))
        except OutOfMemory:
            return None
        psi = with_constant(phi.double())
        return [
            (psi[index], self._sums(psi[index], [along[index]], [heads[which]])[1][0])
            for which, index in groups.places()
        ]

    def _shared(self, images: Tensor, exact: bool) -> Tensor:
        """Return what no delta changes, of the images of a mixed batch: the images or `rows`."""
        if self._is_whole:
            return self._within_memory(lambda: images.to(self.device), len(images))
        found = self._by_pass(images, [], exact, ANSWER if self.answerer is None else ROWS)
        return self.rows(images) if found is None else found[0]

    def _by_own(self, shared: Tensor, head: Head, exact: bool) -> tuple[Tensor, Tensor]:
        """Return psi and the logits by one head, of images as `_shared` returned them."""
        if self._is_whole:
            psi, (logits,) = self._answers(shared, [head], exact)
            return psi, logits
        prepared = [] if self.answerer is None else [head.prepared]
        found = self._by_pass(shared, prepared, exact, PUSH) if prepared else None
        psi, pushed = self.push(shared, prepared) if found is None else (found[0], found[1:])
        return psi, self._sums(psi, pushed, [head])[1][0]

    @property
    def _is_whole(self) -> bool:
        """True if nothing of the backbone is frozen, so that an answer has no first part."""
        return self.suffix is not None and self.suffix.is_whole

    def _by_pass(
        self, given: Tensor, prepared: Sequence[Prepared], exact: bool, part: str = ANSWER
    ) -> Outputs | None:
        """Return the outputs of a faster pass; None where there is none."""
        passes = self.passes
        if passes is None or exact:
            return None
        return self._within_memory(lambda: passes.run(given, prepared, part), len(given))

    def _answers(
        self, images: Tensor, heads: Sequence[Head], exact: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return psi and the logits by every head, in halves where memory is short for all."""
        try:
            return self._answers_at_once(images, heads, exact)
        except OutOfMemory:
            if exact or len(images) == 1:
                raise
        halves = [self._answers(half, heads, exact) for half in images.tensor_split(2)]
        return torch.cat([psi for psi, _ in halves]), [
            torch.cat(parts) for parts in zip(*(logits for _, logits in halves), strict=True)
        ]

    def _answers_at_once(
        self, images: Tensor, heads: Sequence[Head], exact: bool
    ) -> tuple[Tensor, list[Tensor]]:
        prepared = [] if self.answerer is None else [head.prepared for head in heads]
        found = self._by_pass(images, prepared, exact)
        if found is not None:
            return self._sums(found[0], found[1:], heads)
        return self._sums(*self.push(self.rows(images), prepared), heads)

    def rows(self, images: Tensor) -> Tensor:
        """Return the part of an answer that no delta changes: psi, or the engine's rows.

        Raises:
            OutOfMemory: the device has no room for them.
        """

        def computed() -> Tensor:
            given, engine = images.to(self.device, self.dtype), self.answerer
            return self.answered_readout(given) if engine is None else engine.rows(given)

        return self._within_memory(computed, len(images))

    def push(self, rows: Tensor, prepared: Sequence[Prepared]) -> tuple[Tensor, list[Tensor]]:
        """Return psi (B, D) float64 and J phi·delta (B, width) along every prepared direction.

        At a linear scope, which has no directions, the second is empty.

        Raises:
            OutOfMemory: the device has no room for them.
        """
        engine = self.answerer
        if engine is None:
            return rows.double(), []
        most = max(1, DIRECTIONS * self.chunk // max(1, len(rows)))
        with fused_operations(allowed=self.fuses):
            return self._within_memory(lambda: read(engine, rows, prepared, most), len(rows))

    def _sums(
        self, psi: Tensor, pushed: Sequence[Tensor], heads: Sequence[Head]
    ) -> tuple[Tensor, list[Tensor]]:
        along = [None] * len(heads) if self.answerer is None else pushed
        return psi, [head.logits(psi, one) for head, one in zip(heads, along, strict=True)]

    def _head(self, delta: Delta) -> Head:
        """Return the delta on the space's device, made ready; kept as long as the delta lives."""
        if delta not in self._heads:
            self._heads[delta] = self._within_memory(lambda: self._prepare_head(delta), 0)
        return self._heads[delta]

    def _prepare_head(self, delta: Delta) -> Head:
        base, head = uploaded([self.base_rows(delta.labels), delta.head], self.device)
        found = uploaded(list(delta.backbone.values()), self.device)
        directions = {
            name: value.to(self.dtype) for name, value in zip(delta.backbone, found, strict=True)
        }
        prepared = self.answerer.prepare(directions) if self.answerer else None
        return Head(base, base + head, prepared)

    def _within_memory(self, compute: Callable[[], _Result], images: int) -> _Result:
        """Return what `compute` returns.

        Raises:
            OutOfMemory: the device's memory did not suffice; what can be made again is given back.
        """
        try:
            return compute()
        except torch.OutOfMemoryError as error:
            why = str(error).split(". ", 1)[0]
        if self.passes is not None:
            self.passes.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        what = f"{images} images" if images else "a composition"
        raise OutOfMemory(
            f"the memory of {self.device} does not suffice for {what} at scope {self.scope} "
            f"({why}): send fewer images at a time, lower TANGENT_MAX_BATCH_SIZE, or use a device "
            "with more memory"
        )
