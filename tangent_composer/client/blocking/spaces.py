# Generated from ../asynchronous by .ci/blocking-client: change that, and run it again.
"""Spaces: the backbones around which components are trained."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tangent_composer.client.blocking.transport import Transport
from tangent_composer.client.errors import BadInput, UnexpectedAnswer
from tangent_composer.schemas.receipts import ReceiptOut
from tangent_composer.schemas.spaces import SpaceOut
from tangent_composer.vocabulary import Rule


class Spaces:
    """The spaces of a service."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        backbone: str,
        *,
        scope: str | None = None,
        labels: Sequence[str] | None = None,
        default_rule: Rule | None = None,
        **more: Any,
    ) -> SpaceOut:
        """Open a space around a backbone."""
        given = {
            "name": name,
            "backbone": backbone,
            "scope": scope,
            "labels": None if labels is None else list(labels),
            "default_rule": default_rule,
        }
        body = {key: value for key, value in (given | more).items() if value is not None}
        return self._transport.post("/v1/spaces", SpaceOut, body)

    def get(self, name: str = "default") -> SpaceOut:
        """Return a space."""
        return self._transport.get(f"/v1/spaces/{name}", SpaceOut)

    def card(self, name: str, path: str | os.PathLike[str]) -> Path:
        """Write the card of a space, by which components are trained elsewhere; return the file.

        The file is there whole or not at all.

        Raises:
            UnexpectedAnswer: what has come is not what the service named.
            BadInput: the file cannot be written.
        """
        file = Path(path)
        partial, digest = file.with_name(f"{file.name}.partial"), hashlib.sha256()
        try:
            with partial.open("wb") as written:
                with self._transport.streamed(f"/v1/spaces/{name}/card") as answer:
                    for piece in answer.iter_bytes():
                        digest.update(piece)
                        written.write(piece)
                    named = answer.headers.get("etag", "").strip('"')
            if named != digest.hexdigest():
                what = f"the card of {name} has another hash than its service says"
                raise UnexpectedAnswer("unexpected_answer", what, "get it again")
            partial.replace(file)
        except OSError as error:
            why = f"{file} cannot be written: {error.strerror}"
            raise BadInput("cannot_write", why, "name another file") from None
        finally:
            partial.unlink(missing_ok=True)
        return file

    def each(self, **filters: Any) -> Iterator[SpaceOut]:
        """Yield the spaces, filtered by backbone, scope or fingerprint."""
        return self._transport.each("/v1/spaces", SpaceOut, **filters)

    def unlearn(self, name: str, *, cascade: bool = False) -> ReceiptOut:
        """Delete a space, with `cascade` everything in it too."""
        return self._transport.unlearn(f"/v1/spaces/{name}", cascade=cascade)
