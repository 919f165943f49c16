# Generated from ../asynchronous by .ci/blocking-client: change that, and run it again.
"""Spaces: the backbones around which components are trained."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tangent_composer.client.blocking.transport import Transport
from tangent_composer.client.downloads import Download
from tangent_composer.client.errors import Forbidden, NotFound
from tangent_composer.client.paths import local, segment
from tangent_composer.client.selection import listed
from tangent_composer.client.waiting import call
from tangent_composer.schemas.receipts import HeadOut, ReceiptOut
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
        labels: str | Sequence[str] | None = None,
        default_rule: Rule | None = None,
        **more: Any,
    ) -> SpaceOut:
        """Open a space around a backbone."""
        given = {
            "name": name,
            "backbone": backbone,
            "scope": scope,
            "labels": listed(labels),
            "default_rule": default_rule,
        }
        body = {key: value for key, value in (given | more).items() if value is not None}
        return self._transport.post("/v1/spaces", SpaceOut, body)

    def get(self, name: str = "default") -> SpaceOut:
        """Return a space."""
        return self._transport.get(f"/v1/spaces/{segment(name)}", SpaceOut)

    def card(self, name: str, path: str | os.PathLike[str]) -> Path:
        """Write the card of a space, by which components are trained elsewhere; return the file.

        The file is there whole or not at all.

        Raises:
            UnexpectedAnswer: what has come is not what the service named.
            BadInput: the file cannot be written.
        """
        target = local(path)
        with self._transport.streamed(f"/v1/spaces/{segment(name)}/card") as answer:
            with Download(target, answer.headers.get("etag", "")) as file:
                for piece in answer.pieces():
                    call(file.write, piece)
        return target

    def each(self, **filters: Any) -> Iterator[SpaceOut]:
        """Yield the spaces, filtered by backbone, scope or fingerprint."""
        return self._transport.each("/v1/spaces", SpaceOut, **filters)

    def unlearn(self, name: str, *, cascade: bool = False) -> ReceiptOut:
        """Delete a space, with `cascade` everything in it; also where only the answer was lost."""
        before = self._head()
        try:
            return self._transport.unlearn(f"/v1/spaces/{segment(name)}", cascade=cascade)
        except NotFound as error:
            if before is None or not error.may_be_done:
                raise
            if (receipt := self._receipt_of(name, before)) is None:
                raise
            return receipt

    def _head(self) -> HeadOut | None:
        """Return the head of the ledger; None for a key that may not read it."""
        try:
            return self._transport.get("/v1/receipts/head", HeadOut)
        except Forbidden:
            return None

    def _receipt_of(self, name: str, before: HeadOut) -> ReceiptOut | None:
        """Return the receipt of the space that was deleted since; names may be used again."""
        receipts = self._transport.each("/v1/receipts", ReceiptOut, after=before.id)
        for receipt in receipts:
            if receipt.body.get("subject") == {"kind": "space", "id": name}:
                return receipt
        return None
