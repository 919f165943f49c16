"""Answer hashes: the hash of a space's logits for a fixed batch of images, by its default rule.

A receipt may hold one, which the API calls a probe. It is taken in the deletion's own transaction,
when the rows are gone and no other process can change the space. Equal components give an equal
hash: on a service that never had the deleted component, and here later, from the files on disk.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from app.database.sessions import transaction
from app.database.tables import Space
from app.errors import NotReady, Problem
from app.files.blobs import BlobMissing
from app.inference.engine.engine import Engine, Members
from app.receipts import remaining
from app.receipts.body import environment
from app.store import spaces
from app.store.spaces import SpaceUnavailable
from tangent import Delta, compose, reproducibility
from tangent import environment as passes
from tangent.errors import TangentError

FAILURES = (Problem, TangentError, BlobMissing)
Composed = Callable[[Space, Members, str], Delta]


@dataclass(frozen=True)
class AnswerHashes:
    """Takes and compares the answer hashes of an engine's spaces."""

    engine: Engine

    def take(self, session: Session, space: str) -> dict[str, Any]:
        """Return the answer hash of the space as the session's transaction sees it.

        Raises:
            NotReady: `probe_failed` if the space cannot answer.
        """
        try:
            row, members = _members(session, space, None)
            return self._answer(row, members, self.engine.delta)
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
        that took the hash.
        """
        try:
            with transaction(reading) as session:
                row, members = _members(session, str(taken.get("space")), before)
                if remaining.manifest(session, row.name, before=before)[0] != manifest:
                    return None
            if taken.get("fingerprint") != row.fingerprint:
                return None  # its components were trained again
            if taken.get("environment") != self._environment(row):
                return None
            return self._answer(row, members, self._from_files) == taken
        except SpaceUnavailable:
            return None
        except FAILURES:
            return False

    def _from_files(self, row: Space, members: Members, rule: str) -> Delta:
        """Compose the delta from files alone, past all caches."""
        weights, shas = [weight for _, weight in members], [str(part.sha256) for part, _ in members]
        parts = list(zip(self.engine.components(members), weights, strict=True))
        return compose(self.engine.space(row), parts, rule, shas=shas)

    def _answer(self, row: Space, members: Members, composed: Composed) -> dict[str, Any]:
        opened = self.engine.space(row)
        images = reproducibility.hash_images(opened.image_size)
        answer = None
        if members:
            delta = composed(row, members, row.default_rule)
            logits = self.engine.logits(row, list(images), delta)
            answer = reproducibility.answer_hash(delta.labels, logits)
        return {
            "space": row.name,
            "fingerprint": row.fingerprint,
            "rule": row.default_rule,
            "components": len(members),
            "images": {
                "count": len(images),
                "size": opened.image_size,
                "sha256": hashlib.sha256(images.numpy().tobytes()).hexdigest(),
            },
            "logits_sha256": answer,
            "environment": self._environment(row),
        }

    def _environment(self, row: Space) -> dict[str, Any]:
        engine = self.engine
        return environment() | {
            "passes": passes(engine.device),
            "processor": reproducibility.processor(),
            "precision": engine.settings.precision,
            "engine": engine.space(row).engine_name,
        }


def _members(session: Session, space: str, before: int | None) -> tuple[Space, Members]:
    parts = remaining.components(session, space, before=before)
    # A derived component answers only when a request names it.
    members = [(part, None) for part in parts if part.derived is None]
    return spaces.get(session, space, of_anybody=True), members
