"""Answers that leave only under the lease as of which they were made.

Between the making of an answer and its sending, another process may delete what it contains, and
this one may be stopped for any time. So the lease is looked at last of all: here, while there can
still be another answer, and again right before the bytes go to the connection.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from app.errors import NotReady
from app.inference.deletion_gate import Ticket

ATTEMPTS = 5


class LeasedAnswer(Response):
    """An answer as of its ticket's epoch; if the lease of that has ended, it is made again."""

    def __init__(
        self,
        ticket: Ticket,
        made: Response,
        make: Callable[[], Awaitable[Response]] | None = None,
    ) -> None:
        """`make` makes the answer `made` again; without it, that cannot be made again."""
        self.ticket, self.made, self.make = ticket, made, make
        self.status_code, self.background = self.made.status_code, self.made.background

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer.

        Raises:
            NotReady: `answer_overtaken`.
        """
        for attempt in range(ATTEMPTS):
            if attempt and self.make is not None:
                self.made = await self.make()
            if self.ticket.is_current:
                await _send_under_lease(self.made, self.ticket, scope, receive, send)
                return
            self.ticket.finish()
            if self.make is None:
                break
        raise _overtaken()


def bound(answer: Response, request: Request) -> Response:
    """Return the answer, bound to the lease of the request's ticket if it has one."""
    ticket: Ticket | None = getattr(request.state, "ticket", None)
    if ticket is None or ticket.epoch is None or isinstance(answer, LeasedAnswer):
        return answer
    return LeasedAnswer(ticket, answer)


async def _send_under_lease(answer: Response, ticket: Ticket, *asgi: Any) -> None:
    """Send the answer so that the connection takes it as a whole, under the ticket's lease."""
    client = ticket.client
    if client is None:
        await answer(*asgi)
        return
    client.send_under(ticket.handing_over)
    try:
        await answer(*asgi)
    finally:
        client.send_under(None)


def _overtaken() -> NotReady:
    return NotReady(
        "answer_overtaken",
        "a deletion, or a pause of this process, came between the making of this answer and its "
        "sending: look whether the request took place, and try again",
    )
