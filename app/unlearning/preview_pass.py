"""What deleting a component would change, found out without deleting anything."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends

from app.api.http.deps import BlobsDep, EngineDep, ReadSessionsDep, Sessions, TicketDep
from app.evaluation.dataset_pass import walk
from app.inference.deletion_gate import Ticket
from app.inference.engine import Engine
from app.inference.selection import steady
from app.schemas.predictions import Selection as Asked
from app.schemas.previews import AnswersOut, LabelChange, PreviewOut
from app.store import components, datasets
from app.store.blobs import LocalBlobs
from app.store.compositions import Selection
from app.store.db import transaction
from app.store.tables import Dataset
from app.unlearning import preview
from tangent import Delta

CHUNK = 64  # images in memory at a time


@dataclass(frozen=True)
class Previews:
    """The parts of the service that a preview concerns."""

    engine: Engine
    blobs: LocalBlobs
    reading: Sessions
    ticket: Ticket

    def of(self, component_id: str, dataset_id: str | None) -> PreviewOut:
        """The preview; the answers before and after only with a dataset to try them on.

        Raises:
            Conflict: `component_not_ready` for the answers of one that answers nothing.
            NotFound, Gone: the component's or the dataset's.
        """
        with transaction(self.reading) as session:
            found = preview.of(session, component_id)
            dataset = datasets.get(session, dataset_id) if dataset_id else None
        answers = self._answers(component_id, found.space, dataset) if dataset else None
        return PreviewOut(
            component_id=component_id,
            space=found.space,
            derived=found.derived,
            labels_gone=found.labels_gone,
            compositions=found.compositions,
            evaluations=found.evaluations,
            answers=answers,
        )

    def _answers(self, component_id: str, space: str, dataset: Dataset) -> AnswersOut:
        # Only the composing keeps deletions waiting, not the long way after it.
        self.ticket.enter()
        with transaction(self.reading) as session:
            components.ready(session, component_id)
        selection, before, after = steady(
            self.reading,
            self.engine,
            Asked(space=space),
            lambda selection: (selection, *self._composed(selection, component_id)),
        )
        self.ticket.leave()
        if all(part.id != component_id for part, _ in selection.members):
            with transaction(self.reading) as session:  # deleted by another process just now
                components.ready(session, component_id)
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        walked = walk(self.engine, self.blobs, self.reading, selection, dataset, chunk=CHUNK)
        for rows, inputs in walked:
            old = self._best(selection, inputs, before)
            new = self._best(selection, inputs, after)
            for row, one, other in zip(rows, old, new, strict=True):
                counts[row.label].update(
                    {
                        "images": 1,
                        "flipped": int(one != other),
                        "before": int(one == row.label),
                        "after": int(other == row.label),
                    }
                )
        return _summed(selection.rule, dataset.id, counts, answered=after is not None)

    def _composed(self, selection: Selection, component_id: str) -> tuple[Delta, Delta | None]:
        """The space's answer as it is served, and that of all other components at once after."""
        rest = [(part, weight) for part, weight in selection.members if part.id != component_id]
        space, rule = selection.space, selection.rule
        after = self.engine.delta(space, rest, rule) if rest else None
        return self.engine.delta(space, *selection.served), after

    def _best(self, selection: Selection, inputs: list[Any], delta: Delta | None) -> list[Any]:
        """Every image's first label; None where nothing is left to answer."""
        if delta is None:
            return [None] * len(inputs)
        columns = self.engine.logits(selection.space, inputs, delta).argmax(axis=1)
        return [delta.labels[column] for column in columns]


def _summed(
    rule: str, dataset_id: str, counts: dict[str, Counter[str]], *, answered: bool
) -> AnswersOut:
    def change(found: Counter[str]) -> dict[str, Any]:
        images = found["images"]
        return {
            "num_images": images,
            "flipped": found["flipped"],
            "accuracy_before": found["before"] / images,
            "accuracy_after": found["after"] / images if answered else None,
        }

    total: Counter[str] = sum(counts.values(), Counter())
    labels = {label: LabelChange(**change(counts[label])) for label in sorted(counts)}
    return AnswersOut(dataset_id=dataset_id, rule=rule, labels=labels, **change(total))


def _previews(
    engine: EngineDep, blobs: BlobsDep, reading: ReadSessionsDep, ticket: TicketDep
) -> Previews:
    return Previews(engine, blobs, reading, ticket)


PreviewsDep = Annotated[Previews, Depends(_previews)]
