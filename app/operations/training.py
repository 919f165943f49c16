"""Trainings: queued, followed and cancelled."""

from collections.abc import Mapping
from typing import NamedTuple

from app.access import quotas
from app.database.sessions import hold_write_lock, transaction
from app.datasets import datasets, privacy_accounting
from app.operations import privacy
from app.parts import Parts
from app.store import components, lineage, retraining, spaces
from app.store.idempotency import Once
from tangent import Hyperparameters
from tangent_composer.schemas.components import ComponentIn, ComponentOut, EventOut


class Events(NamedTuple):
    """Some events of a component, and whether there will be no more."""

    events: list[EventOut]
    over: bool


def queue_training(parts: Parts, request: ComponentIn, once: Once) -> ComponentOut:
    """Queue the training of a component, once for an idempotency key.

    Raises:
        BadHyperparameter: a hyperparameter is unknown or out of its range.
        NotFound, Gone: the space's or the dataset's.
        SpaceUnavailable: as `OpenedSpaces.check_available`.
        Invalid, Gone: as `Once.run`.
        Forbidden: `quota_exceeded`.
        BadPrivacy, Invalid: as `settings_of` and `check_number_of_labels` of privacy.
        Conflict: `budget_spent`, `privacy_required`.
    """
    Hyperparameters.check(request.hyperparameters)
    privacy.check_number_of_labels(request, parts.settings.max_labels)
    if request.privacy is not None:
        privacy_accounting.load()
    with transaction(parts.sessions) as session:
        if request.privacy is not None:
            hold_write_lock(session)  # before the lock of any row
        space = spaces.get(session, request.space)
        dataset = datasets.get(session, request.dataset_id)
        parts.spaces.check_available(space)
        settings = privacy.settings_of(space, request)

        def queue() -> str:
            quotas.check(session, max_queued_trainings=1, max_components=1)
            return lineage.queue_training(
                session,
                parts.jobs,
                space=space,
                dataset=dataset,
                name=request.name,
                hyperparameters=settings.as_dict(),
                seed=request.seed,
                tags=request.metadata,
                privacy=privacy.terms_of(session, dataset, request),
            ).id

        component_id = once.run(session, request, queue, status=202)
        return ComponentOut.of(components.get(session, component_id))


def retrain(parts: Parts, component_id: str) -> ComponentOut:
    """Queue a failed component again, from its dataset as it is now; one that waits stays as it is.

    Raises:
        Conflict: `component_not_failed`, `component_not_trained_here`.
        NotFound, Gone: as `components.get`.
        SpaceUnavailable: as `OpenedSpaces.check_available`.
    """
    with transaction(parts.sessions) as session:
        hold_write_lock(session)
        row = components.get(session, component_id)
        if row.status not in components.ACTIVE:
            space = spaces.get(session, row.space)
            parts.spaces.check_available(space)
            retraining.retrain_component(session, parts.jobs, parts.blobs, row, space)
        return ComponentOut.of(components.get(session, component_id))


def cancel_training(parts: Parts, component_id: str) -> ComponentOut:
    """Cancel the component, and tell its job to stop.

    From the commit on it is cancelled, whatever becomes of the job: its worker looks at the row.

    Raises:
        Conflict, NotFound, Gone: as `components.cancel`.
    """
    with transaction(parts.sessions) as session:
        row = components.cancel(session, component_id)
        shown, job_id = ComponentOut.of(row), row.job_id
    parts.jobs.stop(job_id)
    return shown


def events_after(parts: Parts, component_id: str, after: int, limit: int) -> Events:
    """Return at most `limit` events of the component whose ids are above `after`.

    Raises:
        NotFound, Gone: as `components.get`.
    """
    with transaction(parts.reading) as session:
        # The status first: whoever sees the last one sees its event, which came with it.
        ended = components.get(session, component_id).status in components.TERMINAL
        rows = components.events(session, component_id, after=after, limit=limit)
        return Events([EventOut.of(row) for row in rows], ended and len(rows) < limit)


def with_news(parts: Parts, seen: Mapping[str, int]) -> set[str]:
    """Return those of these components that have an event after the one seen, or have ended.

    Components that are deleted are among them.
    """
    with transaction(parts.reading) as session:
        now = components.last_events(session, seen.keys())
    return {
        id_
        for id_, last in seen.items()
        if id_ not in now or now[id_][0] in components.TERMINAL or now[id_][1] > last
    }
