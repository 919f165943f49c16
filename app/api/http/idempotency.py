"""`Idempotency-Key` on the POSTs that create something.

    row_id = once.run(session, body, lambda: lineage.queue_training(session, …).id, status=202)
    return ComponentOut.of(components.get(session, row_id))

The same key with the same request gives the same resource as it is now, with
`Idempotent-Replayed: true`; with another request it is refused with 422. A retry after the
resource was deleted is answered 410 with the receipt's id and creates nothing.
"""

from functools import partial
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.encoders import jsonable_encoder

from app.errors import Invalid
from app.store.idempotency import Once

MAX_LENGTH = 255
# Stated here and checked below, as the refusal has a code of its own.
BOUNDS: dict[str, Any] = {"minLength": 1, "maxLength": MAX_LENGTH, "pattern": "^[ -~]*$"}


def once(
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="repeating a request with the same key creates nothing twice, "
            "not even after a deletion",
            json_schema_extra=BOUNDS,
        ),
    ] = None,
) -> Once:
    """Return the request's key after checking it.

    Raises:
        Invalid: `invalid_idempotency_key`.
    """
    key = idempotency_key
    if key is not None and not (0 < len(key) <= MAX_LENGTH and key.isascii() and key.isprintable()):
        raise Invalid(
            "invalid_idempotency_key",
            f"Idempotency-Key must be 1 to {MAX_LENGTH} printable ASCII characters",
        )
    mark = partial(response.headers.__setitem__, "Idempotent-Replayed", "true")
    route = f"{request.method} {request.url.path}"
    if (key_id := request.state.caller.key_id) is not None:
        route += f" {key_id}"  # what another key's request has made is none of this one's
    return Once(key, route, jsonable_encoder, mark)
