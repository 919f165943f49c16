"""Components made from other components."""

from fastapi import APIRouter, Response

from app.api.http.deps import OnceDep, PartsDep
from app.api.http.scopes import ScopedRoute
from app.operations.derivation import queue_derivation
from tangent_composer.schemas.components import ComponentOut
from tangent_composer.schemas.derivations import DeriveIn
from tangent_composer.schemas.problems import problems

router = APIRouter(prefix="/components", tags=["components"], route_class=ScopedRoute)


@router.post(
    "/derive",
    status_code=202,
    summary="Derive a component",
    responses=problems(404, 409, 410, 422),
)
def derive(body: DeriveIn, parts: PartsDep, once: OnceDep, response: Response) -> ComponentOut:
    """Queues the making of a component from others; Location shows its progress.

    It answers only when a request names it, not among all components of the space, and is deleted
    with any of its parents.
    """
    shown = queue_derivation(parts, body, once)
    response.headers["Location"] = f"/v1/components/{shown.id}"
    return shown
