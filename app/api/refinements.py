"""The edge of refinements: queued when an answer finds that its selection has none."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from app.api.http.deps import BlobsDep, JobsDep, Sessions, SessionsDep
from app.schemas.predictions import RefinementOut
from app.store import refinements
from app.store.blobs import LocalBlobs
from app.store.compositions import Selection
from app.store.jobs import Jobs


@dataclass(frozen=True)
class Refinements:
    """The parts of the service that refining concerns."""

    sessions: Sessions
    jobs: Jobs
    blobs: LocalBlobs

    def of(self, selection: Selection) -> RefinementOut | None:
        """The selection's refinement; queued if it is to last and has none yet.

        What is asked for once, by its components, is not refined: there may be many of these.
        """
        row, space = selection.refinement, selection.space
        wanted = selection.lasting and refinements.possible(space, selection.members)
        if row is None and selection.rule == "joint" and wanted:
            row = refinements.ensure(
                self.sessions,
                self.jobs,
                self.blobs,
                space=space,
                members=selection.members,
                composition=selection.composition.name if selection.composition else None,
            )
        return None if row is None else RefinementOut(id=row.id, status=row.status)


def _refinements(sessions: SessionsDep, jobs: JobsDep, blobs: BlobsDep) -> Refinements:
    return Refinements(sessions, jobs, blobs)


RefinementsDep = Annotated[Refinements, Depends(_refinements)]
