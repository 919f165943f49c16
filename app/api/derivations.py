"""Components made from other components."""

from collections.abc import Sequence

from fastapi import APIRouter, Response

from app.api.http.deps import JobsDep, OnceDep, SessionDep
from app.errors import Conflict, Invalid
from app.schemas.components import ComponentOut
from app.schemas.derivations import DeriveIn
from app.schemas.problems import problems
from app.store import components, datasets, lineage, spaces
from app.store.db import Session
from app.store.tables import Component, Dataset, Space
from tangent import merging
from tangent.vocabulary import LINEAR, REFINE

router = APIRouter(prefix="/components", tags=["components"])


@router.post(
    "/derive",
    status_code=202,
    summary="Derive a component",
    responses=problems(404, 409, 410, 422),
)
def derive(
    body: DeriveIn, session: SessionDep, jobs: JobsDep, once: OnceDep, response: Response
) -> ComponentOut:
    """Queues the making of a component from others; Location shows how far it is.

    It answers when it is named, not among all components of the space, and is deleted with any of
    its parents.
    """

    def queue() -> str:
        method = merging.merge_method(body.operator)
        parameters = method.resolve(body.parameters)
        method.weigh([parent.weight for parent in body.parents])
        given = [(parent.id, parent.weight) for parent in body.parents]
        parents = lineage.hold_parents(session, given)
        space = spaces.get(session, parents[0][0].space)
        if body.operator == REFINE and space.scope in LINEAR:
            raise Invalid(
                "nothing_to_refine",
                f"rule joint is exact at scope {space.scope}: compose the parents by it",
            )
        _check_images(method, space, [parent for parent, _ in parents])
        row = lineage.queue_derivation(
            session,
            jobs,
            space=space,
            parents=parents,
            operator=body.operator,
            parameters=parameters,
            dataset=_dataset(session, body, method, [parent for parent, _ in parents]),
            name=body.name,
            seed=body.seed,
            tags=body.metadata,
        )
        return row.id

    row = components.get(session, once.run(session, body, queue, status=202))
    response.headers["Location"] = f"/v1/components/{row.id}"
    return ComponentOut.of(row)


def _check_images(method: merging.MergeMethod, space: Space, parents: Sequence[Component]) -> None:
    """Refuse parents whose images the method needs and the service does not hold.

    Raises:
        Conflict: `parent_data_missing`, with the `components`.
    """
    if not method.measures_images:
        return
    missing = [
        parent.id
        for parent in parents
        if parent.derived is not None
        or (
            parent.dataset_id is None
            and method.needs_images(space.scope, parent.hyperparameters["loss"])
        )
    ]
    if missing:
        raise Conflict(
            "parent_data_missing",
            f"operator {method.name} measures on the images that a parent was trained from, and "
            f"there are none for {', '.join(missing)}, imported or derived: leave these out, or "
            "use an operator that needs no images",
            components=missing,
        )


def _dataset(
    session: Session, body: DeriveIn, method: merging.MergeMethod, parents: Sequence[Component]
) -> Dataset | None:
    """The dataset to fit to, for a method that does.

    Raises:
        Invalid: `dataset_missing`, `dataset_not_used`, `no_common_label`.
        NotFound, Gone: as `datasets.get`.
    """
    if body.dataset_id is None:
        if method.dataset:
            detail = f"operator {body.operator} fits to labelled images: give a dataset_id"
            raise Invalid("dataset_missing", detail)
        return None
    if not method.dataset:
        detail = f"operator {body.operator} fits to no images: leave dataset_id out"
        raise Invalid("dataset_not_used", detail)
    dataset = datasets.get(session, body.dataset_id)
    known = sorted({label for parent in parents for label in parent.labels})
    if not set(known) & set(dataset.labels):
        raise Invalid(
            "no_common_label",
            f"dataset {dataset.id} has no label that the parents know: they know "
            f"{', '.join(known[:20])}",
        )
    return dataset
