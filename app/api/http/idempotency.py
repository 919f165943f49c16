"""`Idempotency-Key` on the POSTs that create something.

    row_id = once.run(session, body, lambda: components.queue(session, …).id, status=202)
    return ComponentOut.of(components.get(session, row_id))

The same key with the same request gives the same resource, as it is now, with
`Idempotent-Replayed: true`; with another request it is refused with 422. A late retry, when the
resource was deleted in the meantime, is answered 410 with the receipt's id: it brings nothing back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.encoders import jsonable_encoder

from app.errors import Invalid
from app.store import idempotency
from app.store.db import Session


def _hash(request: Any) -> str:
    return idempotency.hash_of(jsonable_encoder(request))


@dataclass
class Once:
    """One request's Idempotency-Key; without the header, `run` creates every time."""

    key: str | None
    route: str
    response: Response
    replayed: bool = False  # after `run`: whether the resource was there already

    def run(
        self, session: Session, request: Any, create: Callable[[], str], *, status: int = 201
    ) -> str:
        """The id that `create` returned, now or when the same request came first.

        `request` is all that distinguishes this request from another (a model, or JSON values);
        for an upload, its form fields and the file's sha256. Call it when the upload is on disk:
        from here on the transaction is writing. After a replay the caller drops what it has
        uploaded again.

        Raises:
            Invalid, Gone: as `app.store.idempotency.claim`.
        """
        if self.key is None:
            return create()
        row = idempotency.claim(
            session, key=self.key, route=self.route, request_hash=_hash(request), status=status
        )
        if not row.resource_id:
            row.resource_id = create()
            return row.resource_id
        return self._replay(row.resource_id)

    def known(self, session: Session, request: Any) -> str | None:
        """The id that an earlier request has created; to be asked before long work."""
        if self.key is None:
            return None
        found = idempotency.find(
            session, key=self.key, route=self.route, request_hash=_hash(request)
        )
        return None if found is None else self._replay(found)

    def _replay(self, resource_id: str) -> str:
        self.replayed = True
        self.response.headers["Idempotent-Replayed"] = "true"
        return resource_id


def once(
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="repeating a request with the same key creates nothing twice, "
            "not even after a deletion"
        ),
    ] = None,
) -> Once:
    """The request's key, checked.

    Raises:
        Invalid: `invalid_idempotency_key`.
    """
    key = idempotency_key
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Invalid(
            "invalid_idempotency_key", "Idempotency-Key must be 1 to 255 printable ASCII characters"
        )
    return Once(key, f"{request.method} {request.url.path}", response)
