"""The edge of every change of a dataset that stays: plan, files, then the deletion of the old.

The new files are computed before the transaction, so that no other request waits for it; if a
dataset or component has changed meanwhile, all is planned anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Annotated

from fastapi import Depends, Request

from app import restatements
from app.api.deletions import Deletions, DeletionsDep
from app.api.deps import ReadSessionsDep, Sessions
from app.errors import NotReady
from app.store import revisions
from app.store.db import Session, transaction
from app.store.plans import Plan
from app.store.tables import Receipt

ATTEMPTS = 10


@dataclass(frozen=True)
class Revisions:
    """The parts of the service that such a change concerns."""

    deletions: Deletions
    reading: Sessions
    turn: Lock  # one change in this process at a time: others would have to be planned anew

    def run(self, plan: Callable[[Session], Plan]) -> Receipt:
        """Carry out what is planned, everywhere; the receipt.

        Raises:
            NotReady: `dataset_changing` when other processes have overtaken every attempt.
            Problem: as the plan's.
        """
        with self.turn:
            for _ in range(ATTEMPTS):
                with transaction(self.reading) as session:
                    planned = plan(session)
                try:
                    return self._carried_out(planned)
                except revisions.Overtaken:
                    continue
        raise NotReady(
            "dataset_changing",
            f"the dataset or its components changed in each of {ATTEMPTS} attempts; nothing was "
            "done: try again",
        )

    def _carried_out(self, plan: Plan) -> Receipt:
        blobs, jobs = self.deletions.blobs, self.deletions.jobs
        files = restatements.of(self.deletions.engine, blobs, plan)
        try:
            return self.deletions.run(
                lambda session: revisions.carry_out(session, blobs, jobs, plan, files)
            )
        except BaseException:
            restatements.discard(self.reading, blobs, files)
            raise


def _revisions(request: Request, deletions: DeletionsDep, reading: ReadSessionsDep) -> Revisions:
    return Revisions(deletions, reading, request.app.state.revising)


RevisionsDep = Annotated[Revisions, Depends(_revisions)]
