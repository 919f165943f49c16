"""The sending of a request's answer: its id and status, and whether another can still be sent."""

from starlette.types import Message, Scope, Send

from app.api.http import root_path

STATE = "sending"  # in the request's state


class Sending:
    """An ASGI `send` that gives the answer the request's id, and notes the answer's status."""

    def __init__(self, send: Send, request_id: str, prefix: str) -> None:
        """`prefix`: the path below which a proxy shows the service, or nothing."""
        self._send, self._id, self._prefix = send, request_id.encode(), prefix
        self.status = 0  # until the answer begins

    async def __call__(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message.setdefault("headers", []).append((b"x-request-id", self._id))
            if self._prefix:
                root_path.add_to_location(message, self._prefix)
        await self._send(message)


def has_begun(scope: Scope) -> bool:
    """Return whether a part of the request's answer has been sent."""
    return bool(scope["state"][STATE].status)
