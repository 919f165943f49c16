"""All errors that the service reports to clients, as one small tree.

    Problem
    ├── Malformed 400      ├── Gone 410              ├── Unsupported 415
    ├── Unauthorized 401   ├── StaleVersion 412      ├── Invalid 422
    ├── Forbidden 403      ├── TooLarge 413          ├── TooManyRequests 429
    ├── NotFound 404       ├── OutOfRange 416        ├── NotReady 503
    └── Conflict 409       └── Misdirected 421       └── DiskFull 507

Every error has a stable `code` for programs and a `detail` that tells a person what to do. The HTTP
layer renders the errors as `application/problem+json` (RFC 9457). Uses the standard library only.
"""

from typing import Any, ClassVar


class Problem(Exception):
    """An error with its place and its remedy."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, code: str, detail: str, **extra: Any) -> None:
        """`extra` members (JSON values) are added to the problem document, e.g. `receipt_id`."""
        super().__init__(detail)
        self.code, self.detail, self.extra = code, detail, extra


class Malformed(Problem):
    status, title = 400, "Malformed request"


class Unauthorized(Problem):
    status, title = 401, "Unauthorized"


class Forbidden(Problem):
    status, title = 403, "Forbidden"


class NotFound(Problem):
    status, title = 404, "Not found"


class Conflict(Problem):
    status, title = 409, "Conflict"


class Gone(Problem):
    status, title = 410, "Deleted"


class StaleVersion(Problem):
    status, title = 412, "Version does not match"


class TooLarge(Problem):
    status, title = 413, "Too large"


class Unsupported(Problem):
    status, title = 415, "Unsupported media type"


class OutOfRange(Problem):
    status, title = 416, "Range not satisfiable"


class Misdirected(Problem):
    status, title = 421, "Misdirected request"


class Invalid(Problem):
    status, title = 422, "Invalid"


class TooManyRequests(Problem):
    status, title = 429, "Too many requests"


class ClientLeft(Problem):
    """Nobody waits for the answer; for log and metrics alone."""

    status, title = 499, "Client closed the connection"


class NotReady(Problem):
    status, title = 503, "Not ready"


class Busy(NotReady):
    """Others are served first; this says nothing of what is stored."""


class DiskFull(Problem):
    status, title = 507, "Disk full"
