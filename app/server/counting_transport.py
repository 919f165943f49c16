"""A connection's transport that counts what is written, and sends an answer under a permit."""

import asyncio
from typing import Any

from app.server.transfers import Permit


class Counting:
    """A transport that counts the bytes written to it, and may need a permit for them.

    Head and body of an answer under a permit go in one call: the answer is whole, or it is not.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self.written = transport, 0
        self._permit: Permit | None = None
        self._held = b""  # until the answer under the permit is whole

    def write(self, data: bytes) -> None:
        if self._permit is None:
            self._write(data)
        else:
            self._held += data

    def send_under(self, permit: Permit | None) -> None:
        """Hold what is written from here on until the next call, which asks this permit for it."""
        asked, held = self._permit, self._held
        self._permit, self._held = permit, b""
        if asked is None or not held:
            return
        with asked() as granted:
            if granted:
                self._write(held)
        if not granted:
            self._transport.abort()

    def close(self) -> None:
        """Close the connection once what is held is written."""
        self.send_under(None)
        self._transport.close()

    def _write(self, data: bytes) -> None:
        self.written += len(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
