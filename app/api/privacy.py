"""Privacy: the ledger and the budget of a dataset, and the total of a composition."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.api.http.deps import PartsDep, ReadSessionDep
from app.api.http.scopes import ScopedRoute
from app.datasets import datasets
from app.operations import privacy
from tangent_composer.schemas.privacy import PrivacyBudgetIn, PrivacyLedgerOut, PrivacyTotalOut
from tangent_composer.schemas.problems import problems

router = APIRouter(tags=["privacy"], route_class=ScopedRoute)
Id = Annotated[str, Path(max_length=64)]


@router.get(
    "/datasets/{dataset_id}/privacy",
    summary="Show a dataset's privacy ledger",
    responses=problems(404, 410),
)
def get(session: ReadSessionDep, dataset_id: Id) -> PrivacyLedgerOut:
    """Lists private trainings, with their total and what the budget leaves.

    What was spent stays spent when its component is deleted: it was released.
    """
    return privacy.shown(session, datasets.get(session, dataset_id))


@router.put(
    "/datasets/{dataset_id}/privacy",
    summary="Set a dataset's privacy budget",
    responses=problems(404, 410, 422),
)
def put(dataset_id: Id, body: PrivacyBudgetIn, parts: PartsDep) -> PrivacyLedgerOut:
    """Sets the most that all private trainings together may spend; what was spent stays spent.

    From then on nothing new is computed from the dataset that tells of it without noise: no
    training without privacy, no evaluation, preview or weights; what is under way fails. Components
    that were made before stay: they follow deletions, and no image or label is added to them.
    """
    return privacy.put_budget(parts, dataset_id, body)


@router.get(
    "/compositions/{name}/privacy",
    summary="Show a composition's privacy",
    responses=problems(404, 409, 410, 422, 503),
)
def of_composition(name: Id, session: ReadSessionDep) -> PrivacyTotalOut:
    """Shows the privacy of its private components together, as they are now.

    Components of the same images add up. Of components of different images the least private one
    counts, as each image is in one of them. An imported one may know any images, and adds to all.
    """
    return privacy.of_composition(session, name)
