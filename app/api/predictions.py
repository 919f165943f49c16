"""Predictions of images by a selection of components; nothing is stored."""

from functools import partial
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import to_json

from app.api.http import problems
from app.api.http.auth import address_of
from app.api.http.deps import PartsDep, ThreadsDep, TicketDep
from app.api.http.direct import DirectRoute
from app.api.http.leased_answers import LeasedAnswer
from app.api.http.prediction_document import in_three_forms
from app.api.http.prediction_forms import Parsing, prediction_parser
from app.api.http.scopes import ScopedRoute
from app.errors import Problem
from app.operations.prediction import Work
from app.operations.prediction_answers import Answer, Prediction
from tangent_composer.schemas import answers
from tangent_composer.schemas import predictions as schemas
from tangent_composer.schemas.problems import problems as problem_answers

router = APIRouter(prefix="/predictions", tags=["predictions"], route_class=ScopedRoute)


@router.post(
    "",
    summary="Predict images' labels",
    openapi_extra=in_three_forms(schemas.PredictionIn),
    responses={
        200: {"model": answers.PredictionOut},
        **problem_answers(404, 409, 410, 413, 415, 422, 503),
    },
)
async def predict(
    request: Request,
    parsing: Annotated[Parsing, Depends(prediction_parser)],
    parts: PartsDep,
    threads: ThreadsDep,
    ticket: TicketDep,
) -> Response:
    """Answers every image by itself: labels, or an `error` if it does not decode.

    Without `composition` and `components`, all ready components of the space answer. With
    `return=contributions,leave_one_out` each answer has the contribution of every component to its
    logits, and the answer without the component.
    """
    turns, share = threads.predictions, parts.share_of(address_of(request.scope))

    async def answer(waited: float) -> Response:
        asked = await parsing.result(turns.call)
        parts.count_images(len(asked.images))
        work = Work(parts, ticket, asked.query, asked.images, turns, share)
        work.seconds["turn"] = waited

        async def make() -> Response:
            prediction = await work.predict()
            if prediction.is_small:
                return _response(request, prediction)
            return await turns.call(partial(_response, request, prediction))

        return LeasedAnswer(ticket, await make(), make)

    return await turns.run(ticket, share, answer)


def _response(request: Request, prediction: Prediction) -> Response:
    milliseconds = {step: round(1000 * took, 3) for step, took in prediction.seconds.items()}
    timing = {f"{step}_ms": took for step, took in milliseconds.items()}
    request.scope["state"]["steps"] = timing
    results = [_result(request, *answer) for answer in enumerate(prediction.answers)]
    steps = ", ".join(f"{step};dur={took}" for step, took in milliseconds.items())
    return Response(
        # The fields of a PredictionOut: to build one takes as long as to write its text.
        to_json(prediction.selection | {"results": results, "timing": timing}, inf_nan_mode="null"),
        media_type="application/json",
        headers={"Server-Timing": steps},
    )


def _result(request: Request, index: int, answer: Answer) -> dict[str, Any]:
    """Return the fields of one image's result: a model of each would take longer than all else."""
    if isinstance(answer, Problem):
        return {"index": index, "error": problems.of(request.scope, answer)}
    return {"index": index} | answer


DIRECT = DirectRoute(cast(ScopedRoute, router.routes[0]), prediction_parser)
