"""Images through a composition; nothing is stored."""

from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from app.api.http import problems
from app.api.http.deps import EngineDep, MetricsDep, PartsDep, ReadSessionsDep, TicketDep
from app.api.http.prediction_forms import Asked, asked, in_three_forms
from app.api.http.spooling import SpoolingRoute
from app.errors import Invalid, Problem
from app.images import BadImage
from app.inference import attribution, ranking
from app.inference.engine import Engine
from app.inference.selection import steady, used
from app.parts import Parts
from app.schemas import predictions as schemas
from app.schemas.problems import ProblemOut
from app.schemas.problems import problems as problem_answers
from app.store import refinements
from app.store.compositions import Selection

router = APIRouter(prefix="/predictions", tags=["predictions"], route_class=SpoolingRoute)

STEPS = ("decode", "compose", "forward")
Answer = dict[str, Any] | Problem  # the fields of a schemas.Result, or what is wrong with the image


@dataclass
class Work:
    """One prediction under way: its images as the network's inputs, or the problem each one has."""

    asked: Asked
    engine: Engine
    inputs: list[Any] | None = None  # a tensor or a Problem for each image
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))

    def run(self, selection: Selection) -> tuple[Selection, list[Answer]]:
        """Every image's ranking through this selection."""
        if attribution.wanted(self.asked.query):
            count = len(selection.members), len(self.asked.images)
            attribution.bounded(*count, self.engine.settings)
        if self.inputs is None:
            self.inputs = self._timed("decode", self._decode, selection)
        if attribution.wanted(self.asked.query):  # which only the one-shot answer falls apart into
            selection = replace(selection, refinement=None)
        delta = self._timed("compose", self.engine.delta, selection.space, *selection.served)
        columns = ranking.columns(delta.labels, self.asked.query.labels)
        good = [item for item in self.inputs if not isinstance(item, Problem)]
        rows = (
            self._timed("forward", self.engine.logits, selection.space, good, delta) if good else []
        )
        ranked = [attribution.shown(row, delta.labels, columns, self.asked.query) for row in rows]
        answers = iter(self._apart(selection, good, ranked))
        return selection, [
            item if isinstance(item, Problem) else next(answers) for item in self.inputs
        ]

    def _apart(
        self, selection: Selection, inputs: list[Any], ranked: list[list[schemas.Ranked]]
    ) -> list[dict[str, Any]]:
        """Each image's ranking, with what else the query asks for."""
        answers: list[dict[str, Any]] = [{"predictions": each} for each in ranked]
        if not inputs or not attribution.wanted(self.asked.query):
            return answers
        found = self._timed(
            "forward",
            self.engine.attribution,
            selection.space,
            inputs,
            selection.members,
            selection.rule,
        )
        ids = [part.id for part, _ in selection.members]
        more = attribution.apart(found, ids, self.asked.query, ranked)
        return [answer | each for answer, each in zip(answers, more, strict=True)]

    def _timed(self, step: str, function: Any, *given: Any) -> Any:
        started = perf_counter()
        try:
            return function(*given)
        finally:
            self.seconds[step] += perf_counter() - started

    def _decode(self, selection: Selection) -> list[Any]:
        return [self._input(selection, image) for image in self.asked.images]

    def _input(self, selection: Selection, image: bytes | Problem) -> Any:
        if isinstance(image, Problem):
            return image
        try:
            return self.engine.read(selection.space, image)
        except BadImage as error:
            return Invalid("bad_image", f"{error.reason}: send a JPEG, PNG or WebP image file")


@router.post(
    "",
    summary="Predict images' labels",
    openapi_extra=in_three_forms(schemas.PredictionIn),
    responses={
        200: {"model": schemas.PredictionOut},
        **problem_answers(404, 409, 410, 413, 415, 422, 503),
    },
)
def predict(
    request: Request,
    asked: Annotated[Asked, Depends(asked)],
    engine: EngineDep,
    reading: ReadSessionsDep,
    metrics: MetricsDep,
    ticket: TicketDep,
    parts: PartsDep,
) -> Response:
    """Each image is answered by itself: one that does not decode has an `error`, the others labels.

    Without `composition` and `components`, all ready components of the space answer. With
    `return=contributions,leave_one_out` each answer says what every component added to its logits,
    and what the answer would be without it.
    """
    started, work = perf_counter(), Work(asked, engine)
    ticket.enter()  # until the answer is sent, see app.inference.deletion_gate
    selection, results = steady(reading, engine, asked.query, work.run)
    metrics.decode_seconds.observe(work.seconds["decode"])
    metrics.prediction_seconds.observe(perf_counter() - started)
    metrics.prediction_images.observe(len(results))
    for result in results:
        metrics.predictions.labels("error" if isinstance(result, Problem) else "ok").inc()
    answer = schemas.PredictionOut(
        **used(selection),
        refinement=None if attribution.wanted(asked.query) else _refinement(parts, selection),
        retraining=selection.retraining,
        results=[_result(request, index, result) for index, result in enumerate(results)],
        timing=schemas.Timing(**{f"{step}_ms": _ms(work.seconds[step]) for step in STEPS}),
    )
    steps = ", ".join(f"{step};dur={_ms(work.seconds[step])}" for step in STEPS)
    return Response(
        # FastAPI would take another thread to serialize a model, with the gate still held.
        answer.model_dump_json(exclude_unset=True),
        media_type="application/json",
        headers={"Server-Timing": steps},
    )


def _refinement(parts: Parts, selection: Selection) -> schemas.RefinementOut | None:
    """The selection's refinement; queued if it is to last and has none yet.

    What is asked for once, by its components, is not refined: there may be many of these.
    """
    row, space = selection.refinement, selection.space
    wanted = selection.lasting and refinements.possible(space, selection.members)
    if row is None and selection.rule == "joint" and wanted:
        row = refinements.ensure(
            parts.sessions,
            parts.jobs,
            parts.blobs,
            space=space,
            members=selection.members,
            composition=selection.composition.name if selection.composition else None,
        )
    return None if row is None else schemas.RefinementOut(id=row.id, status=row.status)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _result(request: Request, index: int, result: Answer) -> schemas.Result:
    if isinstance(result, Problem):
        document = problems.of(request.scope, result)
        return schemas.Result(index=index, error=ProblemOut(**document))
    return schemas.Result(index=index, **result)
