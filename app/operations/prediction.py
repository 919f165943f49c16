"""Predictions: images through a selection of components; nothing is stored.

A prediction runs on the event loop. It hands to a thread only what may take time, so that many of
them wait for decoding and for the engine in no thread at all.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from app.database.tables import Component
from app.errors import NotReady, Problem
from app.images.budget import REQUEST_TIMES, Budget
from app.images.shared_orders import SMALL_BYTES
from app.images.shares import Share
from app.inference import ranking
from app.inference.deletion_gate import Ticket
from app.inference.models import Company, Model, Passed
from app.inference.selection import (
    Threads,
    contents,
    read_as_of_now,
    selection_fields,
    served_parts,
    unavailable_components,
)
from app.inference.waiting_times import waiting_at_most
from app.operations import calibration, named_calibration
from app.operations.calibration import Judge, judge_of_selection
from app.operations.named_calibration import NamedCalibration
from app.operations.prediction_answers import Answered, Logits, Prediction, Through
from app.operations.prediction_attributions import (
    add_attributions,
    check_attributions,
    is_attributed,
)
from app.operations.prediction_inputs import Image, fitting, input_of, within
from app.parts import Parts
from app.server.event_loop import settled
from app.store import refinements
from app.store.compositions import Selection
from tangent.backbones.geometry import Geometry
from tangent_composer.schemas.predictions import PredictionQuery
from tangent_composer.schemas.privacy import PrivacySpentOut

STEPS = ("turn", "queue", "decode", "calibrate", "compose", "forward")
ENGINE_SECONDS = 120.0  # for the passes of one prediction, with their waiting, and each other call
FEW_RANKED = 500  # labels of all images, ranked without a thread


class Work:
    """One request's prediction, which may have to be made again."""

    def __init__(
        self,
        parts: Parts,
        ticket: Ticket,
        query: PredictionQuery,
        images: Sequence[Image],
        threads: Threads,
        share: Share,
    ) -> None:
        """`share`: the client's, of decoding."""
        self.parts, self.ticket, self.query = parts, ticket, query
        self.images = [within(image, parts.settings.max_image_bytes) for image in images]
        self._call, self._read = threads.call, threads.read
        seconds = REQUEST_TIMES * parts.settings.max_decode_seconds
        self._budget = Budget(seconds, share=share)
        self._inputs: list[Any] = []  # pixels or a Problem for each image …
        self._inputs_of: str | None = None  # … for the space of this fingerprint
        self._made: tuple[Selection, Any] | None = None
        self._named: NamedCalibration | None = None  # of the answers
        self.seconds = dict.fromkeys(STEPS, 0.0)
        self._is_counted = False
        self.attributes = is_attributed(query)

    async def predict(self) -> Prediction:
        """Answer every image, as of the epoch that the ticket then has.

        Raises:
            Invalid: `unknown_label`; as `check_attributions`.
            Problem: as `read_as_of_now`.
        """
        started, ticket = perf_counter(), self.ticket
        selection, (answers, judged_by) = await self._made_as_of_now()
        self._count(answers, perf_counter() - started)
        refinement = None if self.attributes else await self._refinement(selection)
        answering, is_directed = self._answering(selection), self.query.is_directed
        described = selection_fields(answering, labelled=is_directed) | {
            "refinement": refinement and {"id": refinement.id, "status": refinement.status},
            "retraining": selection.retraining,
            "unavailable_components": unavailable_components(selection),
            "privacy": selection.privacy and PrivacySpentOut.of(*selection.privacy),
            "calibration": judged_by and judged_by._asdict(),
        }
        named = [self._named.dataset_id] if self._named else []
        ticket.hand_over([*contents(selection), *named])
        shown = sum(len(each["predictions"]) for each in answers if isinstance(each, dict))
        is_small = shown <= FEW_RANKED and not self.attributes
        return Prediction(described, answers, self.seconds, is_small)

    async def _made_as_of_now(self) -> tuple[Selection, Answered]:
        """Return the answers; the named dataset, too, is as of the ticket's epoch."""
        for _ in range(calibration.ATTEMPTS):
            self._made = made = await read_as_of_now(
                *(self.parts, self.query, self._answer),
                ticket=self.ticket,
                call=self._read,
                made=self._made,
            )
            current = partial(named_calibration.is_current, self.parts, self._named)
            if self._named is None or await self._read(current):
                return made
            self._made = None
        raise calibration.overtaken()

    async def logits(self) -> Logits:
        """Return every image's logits by a composition, as of the epoch that the ticket then has.

        Raises:
            Problem: as `read_as_of_now`.
        """
        started = perf_counter()
        self._made = await read_as_of_now(
            *(self.parts, self.query, self._pass),
            ticket=self.ticket,
            call=self._read,
            made=self._made,
        )
        selection, through = self._made
        await self._refinement(selection)
        problems = [item if isinstance(item, Problem) else None for item in through.inputs]
        passed = through.passed or Passed((), np.zeros((0, 0), np.float32), 0.0, 0.0, 0.0)
        self._count(through.inputs, perf_counter() - started)
        self.ticket.hand_over(contents(selection))
        temperature = passed.calibration and passed.calibration.temperature
        return Logits(selection.etag or "", passed.labels, passed.logits, problems, temperature)

    def _answering(self, selection: Selection) -> Selection:
        """Return the selection as it answers: only the one-shot answer of `joint` has parts."""
        return replace(selection, refinement=None) if self.attributes else selection

    async def _answer(self, whole: Selection) -> Answered:
        """Return every image's answer by the selection."""
        selection, inputs, passed = await self._pass(whole)
        answers: Iterator[dict[str, Any]] = iter(())
        if passed is not None:
            good = [item for item in inputs if not isinstance(item, Problem)]
            finish = partial(self._answers, selection, good, passed)
            few = len(good) * min(self.query.top_k, len(passed.labels)) <= FEW_RANKED
            answers = iter(finish() if few and not self.attributes else await self._call(finish))
        found = [item if isinstance(item, Problem) else next(answers) for item in inputs]
        return Answered(found, passed and passed.calibration)

    async def _pass(self, whole: Selection) -> Through:
        """Pass the images through the selection's model."""
        selection = self._answering(whole)
        check_attributions(self.parts, selection, self.query, len(self.images))
        spaces, space = self.parts.spaces, selection.space
        opened = spaces.held(space)
        if opened is None:
            opened = await self._call(partial(spaces.opened, space))
        model = Model(opened.key, served_parts(selection), selection.served[1])
        if self._inputs_of != space.fingerprint:
            self._inputs = await self._decoded(selection, opened.space.geometry)
            self._inputs_of = space.fingerprint
        if self.query.labels is not None:  # an unknown one is found before the images are computed
            composed = partial(self._timed, "compose", self.parts.engine.compose, model)
            ranking.columns(await self._call(composed), self.query.labels)
        good = [item for item in self._inputs if not isinstance(item, Problem)]
        judged_by = judge_of_selection(opened.key, whole) if self.query.is_judged else None
        passed = await self._judged(model, good, judged_by) if good else None
        if passed and judged_by and (named := self.query.calibration_dataset):
            fit = partial(named_calibration.calibrated_by, self.parts, judged_by, model, named)
            fitted = await self._call(partial(self._timed, "calibrate", fit))
            self._named, passed = fitted, named_calibration.with_temperature(passed, fitted)
        return Through(selection, self._inputs, passed)

    async def _judged(self, model: Model, good: list[Any], judge: Judge | None) -> Passed:
        """Pass the images through the model, with the judge's calibration if there is a judge."""
        for left in reversed(range(calibration.ATTEMPTS + 1)):
            passed = await self._passed(model, good, judge and judge.model)
            if judge is None or passed.calibration is not None:
                return passed
            if left:
                make = partial(calibration.calibrate, self.parts, judge)
                await self._call(partial(self._timed, "calibrate", make))
        raise calibration.overtaken()

    async def _decoded(self, selection: Selection, geometry: Geometry) -> list[Any]:
        """Return the network's input, or a problem, for every image."""
        files = [image for image in self.images if isinstance(image, bytes)]
        started = perf_counter()
        try:
            pixels = await self._pixels(selection, geometry, files)
        except asyncio.CancelledError:
            self._budget.end()  # what is still to be decoded for nobody
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
            return [await settled(shared)]
        if not files:
            return []
        return await self._call(partial(spaces.pixels, selection.space, files, self._budget))

    async def _passed(self, model: Model, good: list[Any], judged_as: Model | None) -> Passed:
        """Pass the images through the model, in batches with those of other requests."""
        company: Company = "each" if self.query.deterministic else "mixed"
        engine = self.parts.engine
        begin = partial(engine.begin, model, good, company=company, judged_as=judged_as)
        passing = begin() if engine.begins_at_once(model) else await self._call(begin)
        try:
            passed = await settled(passing, within=ENGINE_SECONDS)
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
        answers = list(ranking.answers(passed, columns, self.query))
        if self.attributes:
            temperature = passed.calibration and passed.calibration.temperature
            given = (self.parts, selection, self.query, inputs, answers, temperature)
            self._timed("forward", add_attributions, *given)
        return answers

    def _timed(self, step: str, function: Any, *given: Any) -> Any:
        started = perf_counter()
        try:
            with waiting_at_most(ENGINE_SECONDS):
                return function(*given)
        finally:
            self.seconds[step] += perf_counter() - started

    def _count(self, answers: Sequence[Any], seconds: float) -> None:
        """Count the request, which took so long besides its turn; once, if it is made again."""
        if self._is_counted:
            return
        self._is_counted, metrics = True, self.parts.metrics
        metrics.decode_seconds.observe(self.seconds["decode"])
        metrics.prediction_seconds.observe(self.seconds["turn"] + seconds)
        metrics.prediction_images.observe(len(answers))
        for answer in answers:
            metrics.predictions.labels("error" if isinstance(answer, Problem) else "ok").inc()

    async def _refinement(self, selection: Selection) -> Component | None:
        """Return the selection's refinement; queue it if it has none, or one to be tried again.

        Components that a request names for itself are not refined: there may be many such requests.
        """
        found, parts = selection.refinement, self.parts
        is_there = found is not None and not refinements.is_to_retry(found)
        if is_there or not selection.to_refine:
            return found
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
