"""Components of other services, and of machines that trained without one."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Response, UploadFile
from pydantic import TypeAdapter

from app.api.http.deps import OnceDep, PartsDep
from app.api.http.json_fields import json_field, object_of
from app.api.http.spooling import OF_ONE_FILE, SpoolingRoute
from app.operations.component_import import Received, import_component
from tangent_composer.schemas.components import GivenMetrics, ImportedComponent
from tangent_composer.schemas.names import Name
from tangent_composer.schemas.problems import problems

router = APIRouter(prefix="/components", tags=["components"], route_class=SpoolingRoute)
METRICS: TypeAdapter[dict[str, Any]] = TypeAdapter(GivenMetrics)


@router.post(
    "/import",
    status_code=201,
    summary="Import a component",
    form_limits=OF_ONE_FILE,
    responses=problems(409, 410, 413, 422),
)
def import_(
    file: UploadFile,
    parts: PartsDep,
    once: OnceDep,
    response: Response,
    name: Annotated[Name | None, Form()] = None,
    allow_duplicate: Annotated[
        bool, Form(description="import a file that a component of the space has already")
    ] = False,
    metrics: Annotated[
        str | None,
        json_field(
            "as the trainer has measured them, as a JSON object of numbers and texts; shown with "
            'metrics_by "party"'
        ),
    ] = None,
) -> ImportedComponent:
    """Takes a file from `GET …/delta` of a service with the same space; it is ready at once.

    A file that a ready component has already is refused, as answers by both count its images twice.
    """
    measured = object_of("metrics", metrics, METRICS) or {}
    received = Received(file.file, file.filename, name, allow_duplicate, measured)
    shown = import_component(parts, received, once)
    response.headers["Location"] = f"/v1/components/{shown.id}"
    return shown
