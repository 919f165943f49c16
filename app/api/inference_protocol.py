"""The Open Inference Protocol, version 2: compositions as models, for clients of other servers."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.api.http.auth import address_of
from app.api.http.body_limit import MAX_JSON_VALUES, too_many_values, values_in
from app.api.http.deps import PartsDep, ReadSessionDep, ThreadsDep, TicketDep
from app.api.http.leased_answers import LeasedAnswer
from app.api.http.prediction_forms import FEW_BYTES, check_count
from app.api.http.scopes import ScopedRoute
from app.api.meta import ready as readiness
from app.operations import tensor_inference as tensors
from app.operations.prediction import Work
from app.store import compositions
from tangent_composer.schemas import inference_protocol as schemas
from tangent_composer.schemas.meta import Ready
from tangent_composer.schemas.predictions import NUMBERS, PredictionQuery
from tangent_composer.schemas.problems import problems

FEW_NUMBERS = 2_000  # written without a thread
HEAD = "Inference-Header-Content-Length"

router = APIRouter(prefix="/v2", tags=["inference"], route_class=ScopedRoute)
open_router = APIRouter(prefix="/v2", tags=["inference"])
Name = Annotated[str, Path(max_length=64)]


@open_router.get("", summary="The service as a server of models")
async def server(request: Request) -> schemas.ServerMetadata:
    """Shows name, version and extensions."""
    version = request.app.version
    return schemas.ServerMetadata(
        name="tangent-composer", version=version, extensions=["binary_tensor_data"]
    )


@open_router.get("/health/live", summary="Whether the process turns")
async def live() -> Response:
    """Answers as /livez, without a body."""
    return Response()


@open_router.get(
    "/health/ready",
    summary="Whether requests can be answered",
    responses={503: {"model": Ready}},
)
async def ready(request: Request, parts: PartsDep, response: Response) -> Ready:
    """Answers as /readyz."""
    return await readiness(request, parts, response)


@router.get("/models/{name}", summary="Show a composition as a model", responses=problems(404, 503))
def model(name: Name, parts: PartsDep, session: ReadSessionDep) -> schemas.ModelMetadata:
    """Shows the inputs and outputs; the one version is the composition's ETag without quotes."""
    row = compositions.get(session, name)
    selected = compositions.resolve(session, None, name, None, None)
    height, width = parts.spaces.of(selected.space).geometry.crop
    return schemas.ModelMetadata(
        name=name,
        versions=[compositions.etag(row)],
        inputs=[
            schemas.TensorMetadata(name=tensors.IMAGES, datatype="BYTES", shape=[-1]),
            schemas.TensorMetadata(
                name=tensors.PIXELS, datatype="UINT8", shape=[-1, height, width, 3]
            ),
        ],
        outputs=[
            schemas.TensorMetadata(
                name=output, datatype=kind, shape=[-1] if output == tensors.LABELS else [-1, -1]
            )
            for output, kind in tensors.OUTPUTS.items()
        ],
    )


@router.get(
    "/models/{name}/ready", summary="Whether a composition answers", responses=problems(404, 503)
)
def model_ready(name: Name, parts: PartsDep, session: ReadSessionDep) -> schemas.ModelReady:
    """Answers 200 if its space and components are there, else the problem."""
    selected = compositions.resolve(session, None, name, None, None)
    parts.spaces.of(selected.space)
    return schemas.ModelReady(name=name, ready=True)


@router.post(
    "/models/{name}/infer",
    summary="Infer by a composition",
    responses={
        200: {"model": schemas.InferOut},
        **problems(400, 404, 409, 410, 413, 422, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def infer(
    name: Name, request: Request, parts: PartsDep, threads: ThreadsDep, ticket: TicketDep
) -> Response:
    """Answers labels, logits and probabilities of images, or of pixels in the space's size.

    The body is JSON; tensors in binary follow it, and the header Inference-Header-Content-Length
    then has the JSON's length. The parameter `deterministic` is as that of a prediction.
    """
    body, turns = await request.body(), threads.predictions
    head, share = request.headers.get(HEAD), parts.share_of(address_of(request.scope))

    def read() -> tensors.Asked:
        length = tensors.length_of(body, head)
        if values_in(body[:length]) > MAX_JSON_VALUES:
            raise too_many_values()
        return tensors.read(body, length, parts.settings.max_prediction_images)

    async def answer(waited: float) -> Response:
        asked = read() if len(body) <= FEW_BYTES else await turns.call(read)
        check_count(asked.images, parts.settings)
        parts.count_images(len(asked.images))
        numbers = NUMBERS if tensors.PROBABILITIES in asked.outputs else NUMBERS[:1]
        query = PredictionQuery(
            composition=name, deterministic=asked.is_deterministic, return_=list(numbers)
        )
        work = Work(parts, ticket, query, asked.images, turns, share)
        work.seconds["turn"] = waited

        async def make() -> Response:
            found = await work.logits()
            written = partial(tensors.answer, name, found.version, asked, found)
            few = found.logits.size <= FEW_NUMBERS
            content, length = written() if few else await turns.call(written)
            media_type = "application/octet-stream" if length < len(content) else "application/json"
            return Response(content, media_type=media_type, headers={HEAD: str(length)})

        return LeasedAnswer(ticket, await make(), make)

    return await turns.run(ticket, share, answer)
