"""Idempotency keys: the resource that an earlier request with the same key created.

Only the status and the resource's id are kept. The body of a repeated answer is rendered again, so
it cannot bring back deleted data. Nor can the request itself, sent once more: a deletion also
deletes the keys of its resources, and leaves tombstones with the hashes of the keys.

    row_id = once.run(session, body, lambda: lineage.queue_training(session, …).id, status=202)
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.sessions import affected
from app.database.tables import (
    BatchPrediction,
    Composition,
    Evaluation,
    IdempotencyKey,
    Tombstone,
)
from app.errors import Gone, Invalid
from tangent_composer.canonical_json import canonical


def hash_of(request: Any) -> str:
    """Return the SHA-256 of the request as canonical JSON."""
    return hashlib.sha256(canonical(request)).hexdigest()


class Hashes(NamedTuple):
    """The hashes by which a request is known again."""

    now: str  # without the fields that have their defaults: a later version may have more of them
    before: str  # with these, as it was kept once


ROUTES = ("labels", "images", "images/delete")  # of a dataset, which answer with a receipt


def claim(session: Session, *, key: str, route: str, hashes: Hashes, status: int) -> IdempotencyKey:
    """Return the key's row: a new one with an empty `resource_id`, or an earlier request's.

    A second request with the same key waits here until the first one's transaction has ended.

    Raises:
        Invalid: `idempotency_key_reused` if the earlier request was another one.
        Gone: `idempotency_key_spent` if what it created was deleted, with the `receipt_id`.
    """
    new = IdempotencyKey(
        key=key, route=route, request_hash=hashes.now, status=status, resource_id=""
    )
    try:
        with session.begin_nested():
            session.add(new)
    except IntegrityError:
        row = session.get(IdempotencyKey, (key, route))
        if row is not None:  # it may have been deleted just now
            _same(row, hashes)
            return row
    _unspent(session, key, route)
    return new


def find(session: Session, *, key: str, route: str, hashes: Hashes) -> str | None:
    """Return the id of the resource that a finished request with this key created.

    Raises:
        Invalid: `idempotency_key_reused`.
    """
    row = session.get(IdempotencyKey, (key, route))
    if row is None:
        return None
    _same(row, hashes)
    return row.resource_id


def of_resources(ids: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition of the keys that created these."""
    return IdempotencyKey.resource_id.in_(ids)


def of_dataset(dataset_id: str) -> ColumnElement[bool]:
    """Return the condition of the keys that were used on the dataset's own routes."""
    below = [f"POST /v1/datasets/{dataset_id}/{what}" for what in ROUTES]
    by_key = [IdempotencyKey.route.startswith(f"{each} ", autoescape=True) for each in below]
    return or_(IdempotencyKey.route.in_(below), *by_key)


def of_solves(names: Sequence[str] | Select[str]) -> ColumnElement[bool]:
    """Return the condition of the keys that fitted the weights of these compositions."""
    route = IdempotencyKey.route.startswith("POST /v1/compositions/", autoescape=True)
    return and_(route, IdempotencyKey.resource_id.in_(names))


def of_space(name: str) -> ColumnElement[bool]:
    """Return the condition of the key that opened a space, and of those of the work in it.

    These are the keys of evaluations, batch predictions and solves.
    """
    route = IdempotencyKey.route
    opened = or_(route == "POST /v1/spaces", route.startswith("POST /v1/spaces ", autoescape=True))
    passes = (Evaluation, BatchPrediction)
    ids = [select(table.id).where(table.space == name) for table in passes]
    names = select(Composition.name).where(Composition.space == name)
    work = [IdempotencyKey.resource_id.in_(each) for each in ids]
    return or_(and_(opened, IdempotencyKey.resource_id == name), *work, of_solves(names))


def bury(session: Session, mine: ColumnElement[bool], receipt_id: str) -> int:
    """Delete the keys, but keep them spent; return how many."""
    for key, route in session.execute(select(IdempotencyKey.key, IdempotencyKey.route).where(mine)):
        session.add(Tombstone(subject_id=_grave(key, route), receipt_id=receipt_id))
    return affected(session, delete(IdempotencyKey).where(mine))


def _grave(key: str, route: str) -> str:
    # Keep neither the request nor the key itself: a client may have put a name into it.
    return f"key_{hashlib.sha256(f'{route} {key}'.encode()).hexdigest()}"


def _unspent(session: Session, key: str, route: str) -> None:
    tombstone = session.get(Tombstone, _grave(key, route))
    if tombstone is not None:
        raise Gone(
            "idempotency_key_spent",
            f"what the request with Idempotency-Key {key!r} created was deleted, see receipt "
            f"{tombstone.receipt_id}: send a new key to create it again",
            receipt_id=tombstone.receipt_id,
        )


def _same(row: IdempotencyKey, hashes: Hashes) -> None:
    if row.request_hash not in hashes:
        raise Invalid(
            "idempotency_key_reused",
            f"Idempotency-Key {row.key!r} was used for another request to this route: "
            "send a new key with a new request, or repeat the first request unchanged",
        )


@dataclass
class Once:
    """One request's Idempotency-Key; without a key, `run` creates every time."""

    key: str | None
    route: str
    encode: Callable[..., Any]  # a request, which may be a model, as JSON values; jsonable_encoder
    replay: Callable[[], None]  # called when the resource was there already

    def run(
        self, session: Session, request: Any, create: Callable[[], str], *, status: int = 201
    ) -> str:
        """Return the id that `create` returned, now or when the same request came first.

        `request` is all that distinguishes this request from another (a model, or JSON values);
        for an upload, its form fields and the file's sha256. Call it when the upload is on disk:
        from here on the transaction is writing. After a replay the caller drops what it has
        uploaded again.

        Raises:
            Invalid, Gone: as `claim`.
        """
        if self.key is None:
            return create()
        row = claim(
            session,
            key=self.key,
            route=self.route,
            hashes=self._hashes(request),
            status=status,
        )
        if row.resource_id:
            self.replay()
        else:
            row.resource_id = create()
        return row.resource_id

    def _hashes(self, request: Any) -> Hashes:
        plain = self.encode(request, exclude_defaults=True)
        return Hashes(hash_of(plain), hash_of(self.encode(request)))

    def is_used(self, session: Session) -> bool:
        """Return whether a finished request had this key, be it this one or another."""
        row = None if self.key is None else session.get(IdempotencyKey, (self.key, self.route))
        return row is not None

    def known(self, session: Session, request: Any) -> str | None:
        """Return the id that an earlier request created; call it before long work."""
        if self.key is None:
            return None
        found = find(
            session,
            key=self.key,
            route=self.route,
            hashes=self._hashes(request),
        )
        if found is not None:
            self.replay()
        return found
