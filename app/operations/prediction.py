"""Predictions: images through a selection of components; nothing is stored."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from app.database.tables import Component
from app.errors import Invalid, Problem
from app.images.budget import REQUEST_TIMES, Budget, TooExpensive
from app.images.image_files import BadImage
from app.inference import attribution, ranking
from app.inference.deletion_gate import Ticket
from app.inference.models import Company, Left
from app.inference.selection import (
    contents,
    read_consistently,
    selection_fields,
    unavailable_components,
)
from app.parts import Parts
from app.schemas.predictions import PredictionQuery, Ranked, RefinementOut
from app.store import refinements
from app.store.compositions import Selection

STEPS = ("queue", "decode", "compose", "forward")
Answer = dict[str, Any] | Problem  # the fields of a schemas.Result, or what is wrong with the image


@dataclass(frozen=True)
class Prediction:
    """The images' answers, and the selection that they were made from."""

    selection: dict[str, Any]  # the fields of a PredictionOut
    answers: list[Answer]
    seconds: dict[str, float]  # of each of STEPS


@dataclass
class Work:
    """A prediction in progress: a network input or a problem for every image."""

    parts: Parts
    query: PredictionQuery
    images: list[bytes | Problem]
    budget: Budget  # of the images together
    is_wanted: Callable[[], bool] = lambda: True  # whether the client still waits
    inputs: list[Any] | None = None  # pixels or a Problem for each image
    inputs_of: str | None = None  # the fingerprint of the space that the inputs are for
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))

    def __post_init__(self) -> None:
        self.attributes = bool(attribution.ATTRIBUTING & set(self.query.return_))

    def prepare(self, selection: Selection) -> None:
        """Decode the images, unless they were decoded for the selection's space.

        Raises:
            Left: nobody waits for the answer.
        """
        if not self.is_wanted():
            raise Left
        if self.attributes:
            count = len(selection.members), len(self.images)
            attribution.check_cost(*count, self.parts.settings)
        if self.inputs_of != selection.space.fingerprint:
            self.inputs = self._timed("decode", self._decode, selection)
            self.inputs_of = selection.space.fingerprint

    def run(self, selection: Selection) -> tuple[Selection, list[Answer]]:
        """Return every image's answer, and the selection that has answered."""
        assert self.inputs is not None, "prepare comes first"
        if self.attributes:
            selection = replace(selection, refinement=None)  # only the one-shot answer has parts
        spaces, engine = self.parts.spaces, self.parts.engine
        model = spaces.model(selection.space, *selection.served)
        if self.query.labels is not None:  # an unknown one is found before the images are computed
            ranking.columns(self._timed("compose", engine.compose, model), self.query.labels)
        good = [item for item in self.inputs if not isinstance(item, Problem)]
        answers: Iterator[dict[str, Any]] = iter(())
        if good:
            company: Company = "each" if self.query.deterministic else "mixed"
            passed = engine.run(model, good, company=company, is_wanted=self.is_wanted)
            self.seconds["compose"] += passed.compose
            self.seconds["queue"] += passed.queue
            self.seconds["forward"] += passed.forward
            columns = ranking.columns(passed.labels, self.query.labels)
            ranked = ranking.rankings(passed.logits, passed.labels, columns, self.query)
            answers = iter(self._answers(selection, good, ranked))
        return selection, [
            item if isinstance(item, Problem) else next(answers) for item in self.inputs
        ]

    def _answers(
        self, selection: Selection, inputs: list[Any], ranked: list[list[Ranked]]
    ) -> list[dict[str, Any]]:
        """Return every image's ranking, with its attribution if the query requests one."""
        answers: list[dict[str, Any]] = [{"predictions": ranking} for ranking in ranked]
        if not self.attributes:
            return answers
        model = self.parts.spaces.model(selection.space, selection.members, selection.rule)
        ids = [part.id for part, _ in selection.members]
        size = 1 if self.query.deterministic else len(inputs)
        for start in range(0, len(inputs), size):
            some = slice(start, start + size)
            found = self._timed("forward", self.parts.engine.attribution, model, inputs[some])
            added = attribution.attributions(found, ids, self.query, ranked[some])
            answers[some] = [a | more for a, more in zip(answers[some], added, strict=True)]
        return answers

    def _timed(self, step: str, function: Any, *given: Any) -> Any:
        started = perf_counter()
        try:
            return function(*given)
        finally:
            self.seconds[step] += perf_counter() - started

    def _decode(self, selection: Selection) -> list[Any]:
        files = [image for image in self.images if not isinstance(image, Problem)]
        found = iter(self.parts.spaces.pixels(selection.space, files, self.budget))
        return [
            image if isinstance(image, Problem) else _input(next(found)) for image in self.images
        ]


def _input(found: Any) -> Any:
    if isinstance(found, TooExpensive):
        return Invalid("image_too_expensive", found.reason)
    if isinstance(found, BadImage):
        return Invalid("bad_image", f"{found.reason}: send a JPEG, PNG or WebP image file")
    return found


def predict(
    parts: Parts, ticket: Ticket, query: PredictionQuery, images: list[bytes | Problem]
) -> Prediction:
    """Answer every image; deletions wait from the decoded images until the answers are made.

    Raises:
        Invalid: `too_many_attributions`, `unknown_label`.
        Left: the client has closed its connection.
        Problem: as `read_consistently`.
    """
    started = perf_counter()
    budget = Budget(REQUEST_TIMES * parts.settings.max_decode_seconds)
    work = Work(parts, query, images, budget, lambda: not ticket.has_left)
    selection, answers = read_consistently(
        parts.reading,
        parts.engine,
        query,
        work.run,
        sessions=parts.sessions,
        blobs=parts.blobs,
        selections=parts.selections,
        prepare=work.prepare,
        ticket=ticket,
    )
    metrics = parts.metrics
    metrics.decode_seconds.observe(work.seconds["decode"])
    metrics.prediction_seconds.observe(perf_counter() - started)
    metrics.prediction_images.observe(len(answers))
    for answer in answers:
        metrics.predictions.labels("error" if isinstance(answer, Problem) else "ok").inc()
    refinement = None if work.attributes else _refinement(parts, selection)
    described = selection_fields(selection) | {
        "refinement": refinement and RefinementOut(id=refinement.id, status=refinement.status),
        "retraining": selection.retraining,
        "unavailable_components": unavailable_components(selection),
    }
    ticket.hand_over(contents(selection))
    return Prediction(described, answers, work.seconds)


def _refinement(parts: Parts, selection: Selection) -> Component | None:
    """Return the selection's refinement; queue it if it is to have one and has none yet.

    Components that a request names for itself are not refined: there may be many such requests.
    """
    if selection.refinement is not None or not selection.to_refine:
        return selection.refinement
    return refinements.ensure(
        parts.sessions,
        parts.jobs,
        parts.blobs,
        space=selection.space,
        members=selection.members,
        composition=selection.composition.name if selection.composition else None,
    )
