"""Probes: the hash of what a space answers a fixed batch of images with, by its default rule.

A receipt may hold one, made in the deletion's own transaction, when the rows are gone and nobody
else can change the space. Whoever has the same components gets the same hash: a service that never
had the deleted one, and this one later, from what is on its disk.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from app.errors import NotReady, Problem
from app.inference.engine import Engine, Members
from app.receipts import ledger, remaining
from app.receipts.environment import environment
from app.store import spaces
from app.store.blobs import BlobMissing
from app.store.db import transaction
from app.store.tables import Space
from tangent import Delta, compose, reproducibility
from tangent import environment as passes
from tangent.errors import TangentError

FAILURES = (Problem, TangentError, BlobMissing)
Composed = Callable[[Space, Members, str], Delta]


@dataclass(frozen=True)
class Probes:
    """Asks an engine's spaces."""

    engine: Engine

    def take(self, session: Session, space: str) -> dict[str, Any]:
        """The probe of the space as the session's transaction sees it.

        Raises:
            NotReady: `probe_failed` if it cannot be answered.
        """
        try:
            row, members = _of(session, space, None)
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
        made_at: datetime,
        manifest: str | None,
    ) -> bool | None:
        """Whether what remained at that time, read from its files, gives the same hash now.

        None where it is not what the manifest says any more, and where this process is not of the
        kind that took the probe.
        """
        try:
            with transaction(reading) as session:
                row, members = _of(session, str(taken.get("space")), made_at)
                if ledger.manifest(session, row.name, before=made_at)[0] != manifest:
                    return None
            if taken.get("environment") != self._environment(row):
                return None
            return self._answer(row, members, self._from_files) == taken
        except FAILURES:
            return False

    def _from_files(self, row: Space, members: Members, rule: str) -> Delta:
        """The composed delta by nothing that is kept in memory."""
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


def _of(session: Session, space: str, before: datetime | None) -> tuple[Space, Members]:
    found = remaining.of(session, space, before=before)
    # What was derived from others answers only when it is named.
    members = [(part, None) for part in found if part.derived is None]
    return spaces.get(session, space), members
