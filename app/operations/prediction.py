"""Predictions: images through a selection of components; nothing is stored.

A prediction runs on the event loop. It hands to a thread only what may take time, so that many of
them wait for decoding and for the engine in no thread at all.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from app.database.tables import Component
from app.errors import NotReady, Problem
from app.images.budget import REQUEST_TIMES, Budget
from app.images.shared_orders import SMALL_BYTES
from app.inference import attribution, ranking
from app.inference.deletion_gate import Ticket
from app.inference.models import Company, Model, Passed
from app.inference.selection import (
    Call,
    contents,
    read_as_of_now,
    selection_fields,
    unavailable_components,
)
from app.operations.prediction_inputs import fitting, input_of
from app.parts import Parts
from app.schemas.predictions import PredictionQuery, Ranked, RefinementOut
from app.store import refinements
from app.store.compositions import Selection
from tangent.backbones.geometry import Geometry

STEPS = ("queue", "decode", "compose", "forward")
ENGINE_SECONDS = 120.0  # for the passes of one prediction, with their waiting
FEW_RANKED = 500  # labels of all images, ranked without a thread
Answer = dict[str, Any] | Problem  # the fields of a schemas.Result, or what is wrong with the image
Image = bytes | np.ndarray | Problem  # a file, pixels of the space's size, or what is wrong with it


class Through(NamedTuple):
    """Images that went through a selection's model."""

    selection: Selection
    inputs: list[Any]  # pixels or a Problem for each image
    passed: Passed | None  # of those that have pixels; None if there is none


class Logits(NamedTuple):
    """The images' logits by a composition of this version, and the problems of some."""

    version: str
    labels: tuple[str, ...]
    logits: np.ndarray  # float32 (images, labels); of those without a problem
    problems: list[Problem | None]


@dataclass(frozen=True)
class Prediction:
    """The images' answers, and the selection that they were made from."""

    selection: dict[str, Any]  # the fields of a PredictionOut
    answers: list[Answer]
    seconds: dict[str, float]  # of each of STEPS
    is_small: bool  # as an answer, so that writing it blocks nobody


class Work:
    """One request's prediction, which may have to be made again."""

    def __init__(
        self,
        parts: Parts,
        ticket: Ticket,
        query: PredictionQuery,
        images: Sequence[Image],
        call: Call,
    ) -> None:
        """`call` runs a function in a thread."""
        self.parts, self.ticket, self.query, self.images = parts, ticket, query, images
        self._call = call
        self._budget = Budget(REQUEST_TIMES * parts.settings.max_decode_seconds)
        self._inputs: list[Any] = []  # pixels or a Problem for each image …
        self._inputs_of: str | None = None  # … for the space of this fingerprint
        self._made: tuple[Selection, Any] | None = None
        self.seconds = dict.fromkeys(STEPS, 0.0)
        self.attributes = bool(attribution.ATTRIBUTING & set(query.return_))

    async def predict(self) -> Prediction:
        """Answer every image, as of the epoch that the ticket then has.

        Raises:
            Invalid: `too_many_attributions`, `unknown_label`.
            Problem: as `read_as_of_now`.
        """
        started, ticket = perf_counter(), self.ticket
        parts, query = self.parts, self.query
        self._made = await read_as_of_now(
            *(parts, query, self._answer), ticket=ticket, call=self._call, made=self._made
        )
        selection, answers = self._made
        self._count(answers, perf_counter() - started)
        refinement = None if self.attributes else await self._refinement(selection)
        described = selection_fields(self._answering(selection)) | {
            "refinement": refinement and RefinementOut(id=refinement.id, status=refinement.status),
            "retraining": selection.retraining,
            "unavailable_components": unavailable_components(selection),
        }
        ticket.hand_over(contents(selection))
        shown = sum(len(each["predictions"]) for each in answers if isinstance(each, dict))
        is_small = shown <= FEW_RANKED and not self.attributes
        return Prediction(described, answers, self.seconds, is_small)

    async def logits(self) -> Logits:
        """Return every image's logits by a composition, as of the epoch that the ticket then has.

        Raises:
            Problem: as `read_as_of_now`.
        """
        started = perf_counter()
        self._made = await read_as_of_now(
            *(self.parts, self.query, self._pass),
            ticket=self.ticket,
            call=self._call,
            made=self._made,
        )
        selection, through = self._made
        problems = [item if isinstance(item, Problem) else None for item in through.inputs]
        passed = through.passed or Passed((), np.zeros((0, 0), np.float32), 0.0, 0.0, 0.0)
        self._count(through.inputs, perf_counter() - started)
        self.ticket.hand_over(contents(selection))
        return Logits(selection.etag or "", passed.labels, passed.logits, problems)

    def _answering(self, selection: Selection) -> Selection:
        """Return the selection as it answers: only the one-shot answer of `joint` has parts."""
        return replace(selection, refinement=None) if self.attributes else selection

    async def _answer(self, whole: Selection) -> list[Answer]:
        """Return every image's answer by the selection."""
        selection, inputs, passed = await self._pass(whole)
        answers: Iterator[dict[str, Any]] = iter(())
        if passed is not None:
            good = [item for item in inputs if not isinstance(item, Problem)]
            finish = partial(self._answers, selection, good, passed)
            few = len(good) * min(self.query.top_k, len(passed.labels)) <= FEW_RANKED
            answers = iter(finish() if few and not self.attributes else await self._call(finish))
        return [item if isinstance(item, Problem) else next(answers) for item in inputs]

    async def _pass(self, whole: Selection) -> Through:
        """Pass the images through the selection's model."""
        selection = self._answering(whole)
        if self.attributes:
            count = len(selection.members), len(self.images)
            attribution.check_cost(*count, self.parts.settings)
        spaces = self.parts.spaces
        opened = partial(_opened, self.parts, selection)
        geometry, model = opened() if spaces.has(selection.space) else await self._call(opened)
        if self._inputs_of != selection.space.fingerprint:
            self._inputs = await self._decoded(selection, geometry)
            self._inputs_of = selection.space.fingerprint
        if self.query.labels is not None:  # an unknown one is found before the images are computed
            composed = partial(self._timed, "compose", self.parts.engine.compose, model)
            ranking.columns(await self._call(composed), self.query.labels)
        good = [item for item in self._inputs if not isinstance(item, Problem)]
        passed = await self._passed(model, good) if good else None
        return Through(selection, self._inputs, passed)

    async def _decoded(self, selection: Selection, geometry: Geometry) -> list[Any]:
        """Return the network's input, or a problem, for every image."""
        files = [image for image in self.images if isinstance(image, bytes)]
        started = perf_counter()
        try:
            pixels = await self._pixels(selection, geometry, files)
        except asyncio.CancelledError:
            self._budget.spend(inf)  # what is still to be decoded for nobody
            raise
        self.seconds["decode"] += perf_counter() - started
        found = iter(pixels)
        return [
            input_of(next(found)) if isinstance(image, bytes) else fitting(image, geometry)
            for image in self.images
        ]

    async def _pixels(
        self, selection: Selection, geometry: Geometry, files: Sequence[bytes]
    ) -> Sequence[Any]:
        spaces = self.parts.spaces
        if len(files) == 1 and len(files[0]) <= SMALL_BYTES:
            shared = spaces.decoding.pixels(files[0], geometry, self._budget)
            return [await asyncio.wrap_future(shared)]
        if not files:
            return []
        return await self._call(partial(spaces.pixels, selection.space, files, self._budget))

    async def _passed(self, model: Model, good: list[Any]) -> Passed:
        """Pass the images through the model, in batches with those of other requests."""
        company: Company = "each" if self.query.deterministic else "mixed"
        engine = self.parts.engine
        begin = partial(engine.begin, model, good, company=company)
        passing = begin() if engine.begins_at_once(model) else await self._call(begin)
        try:
            async with asyncio.timeout(ENGINE_SECONDS):
                passed = await asyncio.wrap_future(passing)
        except TimeoutError:
            raise NotReady(
                "engine_late",
                f"the engine has not answered within {ENGINE_SECONDS:g} s: try again later",
                retry_after=5,
            ) from None
        for step in ("compose", "queue", "forward"):
            self.seconds[step] += getattr(passed, step)
        return passed

    def _answers(
        self, selection: Selection, inputs: list[Any], passed: Passed
    ) -> list[dict[str, Any]]:
        """Return every image's ranking, with its attribution if the query requests one."""
        columns = ranking.columns(passed.labels, self.query.labels)
        ranked = ranking.rankings(passed.logits, passed.labels, columns, self.query)
        answers: list[dict[str, Any]] = [{"predictions": each} for each in ranked]
        if self.attributes:
            self._add_attributions(answers, selection, inputs, ranked)
        return answers

    def _add_attributions(
        self,
        answers: list[dict[str, Any]],
        selection: Selection,
        inputs: list[Any],
        ranked: list[list[Ranked]],
    ) -> None:
        model = self.parts.spaces.model(selection.space, selection.members, selection.rule)
        ids = [part.id for part, _ in selection.members]
        size = 1 if self.query.deterministic else len(inputs)
        for start in range(0, len(inputs), size):
            some = slice(start, start + size)
            found = self._timed("forward", self.parts.engine.attribution, model, inputs[some])
            added = attribution.attributions(found, ids, self.query, ranked[some])
            answers[some] = [a | more for a, more in zip(answers[some], added, strict=True)]

    def _timed(self, step: str, function: Any, *given: Any) -> Any:
        started = perf_counter()
        try:
            return function(*given)
        finally:
            self.seconds[step] += perf_counter() - started

    def _count(self, answers: Sequence[Any], seconds: float) -> None:
        metrics = self.parts.metrics
        metrics.decode_seconds.observe(self.seconds["decode"])
        metrics.prediction_seconds.observe(seconds)
        metrics.prediction_images.observe(len(answers))
        for answer in answers:
            metrics.predictions.labels("error" if isinstance(answer, Problem) else "ok").inc()

    async def _refinement(self, selection: Selection) -> Component | None:
        """Return the selection's refinement; queue it if it is to have one and has none yet.

        Components that a request names for itself are not refined: there may be many such requests.
        """
        if selection.refinement is not None or not selection.to_refine:
            return selection.refinement
        parts = self.parts
        return await self._call(
            lambda: refinements.ensure(
                parts.sessions,
                parts.jobs,
                parts.blobs,
                space=selection.space,
                members=selection.members,
                composition=selection.composition.name if selection.composition else None,
            )
        )


def _opened(parts: Parts, selection: Selection) -> tuple[Geometry, Model]:
    """Return what the selection's space makes of images, and the selection's model."""
    geometry = parts.spaces.of(selection.space).geometry
    return geometry, parts.spaces.model(selection.space, *selection.served)
