"""Label reports of datasets: which labels the rest of a selection disputes."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.datasets import DatasetId
from app.api.http.deps import PartsDep, TicketDep
from app.api.http.scopes import ScopedRoute
from app.errors import Invalid, NotFound
from app.operations.label_report import Wanted, report_labels
from tangent.vocabulary import Rule
from tangent_composer.schemas.label_reports import LabelReportOut
from tangent_composer.schemas.predictions import MAX_NAME, Member, SelectionQuery
from tangent_composer.schemas.problems import problems

MAX_SHOWN = 1_000  # images in an answer, and components of a query

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=ScopedRoute)
Name = Annotated[str | None, Query(max_length=MAX_NAME)]


def _members(components: str | None) -> list[Member] | None:
    """Return the components of a text with commas.

    Raises:
        NotFound: `component_not_found` for a text that is no id.
        Invalid: `too_many_components`.
    """
    ids = [each.strip() for each in (components or "").split(",")]
    ids = [each for each in ids if each]
    for each in ids:
        if len(each) > MAX_NAME:
            raise NotFound("component_not_found", f"no component {each[:MAX_NAME]!r}… exists")
    if len(ids) > MAX_SHOWN:
        raise Invalid(
            "too_many_components",
            f"{len(ids)} components are named, the most here are {MAX_SHOWN}: save them as a "
            "composition, and name that",
        )
    return [Member(id=each) for each in ids] or None


@router.get(
    "/{dataset_id}/label-report",
    summary="Find wrong labels",
    responses=problems(404, 409, 410, 422, 429, 503),
)
def report(
    parts: PartsDep,
    ticket: TicketDep,
    dataset_id: DatasetId,
    composition: Name = None,
    components: Annotated[
        str | None, Query(max_length=65 * MAX_SHOWN, description="ids with commas between them")
    ] = None,
    space: Annotated[
        str | None, Query(max_length=MAX_NAME, description="else the dataset's own")
    ] = None,
    rule: Annotated[Rule | None, Query(description="else the selection's own")] = None,
    label: Annotated[str | None, Query(max_length=255, description="of this label only")] = None,
    everything: Annotated[
        bool, Query(alias="all", description="also images whose label is not disputed")
    ] = False,
    limit: Annotated[int, Query(ge=1, le=MAX_SHOWN, description="most images in the answer")] = 100,
) -> LabelReportOut:
    """Ranks the images whose label the rest of the selection disputes, most disputed first.

    Each image is taken out of every component that was trained on it, exactly and without training
    again, and so are its copies in other datasets: its own label does not vouch for itself. That is
    possible at scopes head and head2toe. It takes about as long as an evaluation while the request
    waits, and at most `max_report_images` images, see GET /v1/limits: of more, ask label by label.
    """
    query = SelectionQuery(
        composition=composition, components=_members(components), space=space, rule=rule
    )
    return report_labels(parts, ticket, dataset_id, query, Wanted(label, everything, limit))
