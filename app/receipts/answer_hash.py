"""Answer hashes: the hash of a space's logits for a fixed batch of images, by its default rule.

A receipt may hold one, which the API calls a probe. It is taken in the deletion's own transaction,
when the rows are gone and no other process can change the space. Equal components give an equal
hash: on a service that never had the deleted component, and here later, from the files on disk.
The environment of a hash names how this version chooses penalties, as composing may do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from app.database.sessions import transaction
from app.database.tables import Space
from app.errors import NotReady, Problem
from app.files.blobs import BlobMissing
from app.inference.engines import AnyEngine
from app.inference.opened_spaces import Members, OpenedSpaces
from app.receipts import remaining
from app.receipts.body import environment
from app.store import spaces
from app.store.spaces import SpaceUnavailable
from tangent.errors import TangentError
from tangent.vocabulary import L2_CHOSEN_BY, OF_STATISTICS

FAILURES = (Problem, TangentError, BlobMissing)
CHOICE = {"l2_chosen_by": L2_CHOSEN_BY}


@dataclass(frozen=True)
class AnswerHashes:
    """Takes and compares the answer hashes of an engine's spaces."""

    engine: AnyEngine
    spaces: OpenedSpaces

    def take(self, session: Session, space: str) -> dict[str, Any]:
        """Return the answer hash of the space as the session's transaction sees it.

        Raises:
            NotReady: `probe_failed` if the space cannot answer.
        """
        try:
            row, members = _members(session, space, None)
            return self._answer(row, members)
        except FAILURES as error:
            raise NotReady(
                "probe_failed",
                f"space {space!r} cannot answer the probe ({error}), so nothing was changed: "
                "repeat without probe=true, or put right what is wrong first",
            ) from error

    def holds(
        self,
        reading: sessionmaker[Session],
        taken: Mapping[str, Any],
        *,
        before: int,
        manifest: str | None,
    ) -> bool | None:
        """Return whether the files of the components from before that receipt give this hash.

        The answer is None if the components differ from the manifest by now, if the space was
        trained again or does not open here, or if this process has another arithmetic than the one
        that took the hash. It is also None if the hash differs and an older version took it, which
        chose penalties in another way.
        """
        try:
            with transaction(reading) as session:
                row, members = _members(session, str(taken.get("space")), before)
                if remaining.manifest(session, row.name, before=before)[0] != manifest:
                    return None
            if taken.get("fingerprint") != row.fingerprint:
                return None  # its components were trained again
            key = self.spaces.key(row)
            here = environment() | self.engine.hash_environment(key) | CHOICE
            there = dict(taken.get("environment") or {})
            if there | CHOICE != here:
                return None
            answer = self._answer(row, members, from_files=True)
            if answer == {**taken, "environment": here}:
                return True
            chooses = taken.get("rule") in OF_STATISTICS
            return None if chooses and there != here else False
        except SpaceUnavailable:
            return None
        except FAILURES:
            return False

    def _answer(self, row: Space, members: Members, *, from_files: bool = False) -> dict[str, Any]:
        model = self.spaces.model(row, members, row.default_rule)
        found = self.engine.answer_hash(model, from_files=from_files)
        return found | {
            "space": row.name,
            "fingerprint": row.fingerprint,
            "rule": row.default_rule,
            "components": len(members),
            "environment": environment() | found["environment"] | CHOICE,
        }


def _members(session: Session, space: str, before: int | None) -> tuple[Space, Members]:
    parts = remaining.components(session, space, before=before)
    row = spaces.get(session, space, of_anybody=True)
    # A derived component answers only when a request names it, and one without statistics never
    # by a rule that adds statistics.
    takes_all = row.default_rule not in OF_STATISTICS
    members = [
        (part, None) for part in parts if part.derived is None and (part.statistics or takes_all)
    ]
    return row, members
