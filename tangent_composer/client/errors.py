"""Errors of the client, as one tree: each has `code`, `detail` and `remedy`.

    TangentError
    ├── Refused                 the service answered with a problem; `status`, `problem`
    │   ├── BadRequest 400      ├── Conflict 409           ├── Unsupported 415
    │   ├── Unauthorized 401    ├── Gone 410               ├── Invalid 422
    │   ├── Forbidden 403       ├── StaleVersion 412       ├── TooManyRequests 429
    │   ├── NotFound 404        ├── TooLarge 413           └── Unavailable 5xx
    ├── NoAnswer                the service cannot be reached, or did not answer in time
    ├── UnexpectedAnswer        something else answered, or a service of another version
    ├── NotFinished             a wait ended before the work did, which goes on
    ├── Failed                  a training, evaluation or batch prediction failed or was cancelled,
    │                           or the model kept changing while it was asked
    ├── NotLinear               an answer cannot be re-weighted without the service
    └── BadInput                what was given cannot be sent

`code` never changes and is for programs; `detail` says what went wrong, `remedy` what to do.
"""

import copyreg
from typing import Any, ClassVar

REMEDIES = {
    "unauthorized": "give api_key, set TANGENT_API_KEY, or run `tangent login`",
    "invalid_api_key": "give api_key, set TANGENT_API_KEY, or run `tangent login`",
}


class TangentError(Exception):
    """An error with its code, what went wrong, and what to do."""

    default_remedy: ClassVar[str] = ""

    def __init__(self, code: str, detail: str, remedy: str = "") -> None:
        self.code, self.detail = code, detail
        self.remedy = remedy or REMEDIES.get(code, self.default_remedy)
        super().__init__(f"{detail}: {self.remedy}" if self.remedy else detail)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again: as it is, as its message is not what it was made of."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class Refused(TangentError):
    """The service answered with a problem."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status, self.problem = status, problem
        self.may_be_done = False  # by an earlier attempt, whose answer was lost
        detail = str(problem.get("detail") or problem.get("title") or f"status {status}")
        super().__init__(str(problem.get("code") or f"http_{status}"), detail)

    @property
    def request_id(self) -> str | None:
        """The request's id in the service's log."""
        return self.problem.get("request_id")

    @property
    def places(self) -> list[dict[str, str]]:
        """The invalid places in the request: `pointer` and `detail` of each."""
        return self.problem.get("errors") or []

    @property
    def receipt_id(self) -> str | None:
        """The receipt of the deletion after which this is gone."""
        return self.problem.get("receipt_id")


class BadRequest(Refused):
    default_remedy = ""


class Unauthorized(Refused):
    default_remedy = REMEDIES["unauthorized"]


class Forbidden(Refused):
    default_remedy = "use a key whose scopes allow this"


class NotFound(Refused):
    pass


class Conflict(Refused):
    pass


class Gone(Refused):
    pass


class StaleVersion(Refused):
    default_remedy = "read it again, and repeat the change on what it is now"


class TooLarge(Refused):
    pass


class Unsupported(Refused):
    pass


class Invalid(Refused):
    pass


class TooManyRequests(Refused):
    default_remedy = "wait a moment, and try again"


class Unavailable(Refused):
    default_remedy = "try again later"


class NoAnswer(TangentError):
    default_remedy = "look whether the service runs and the address is right"


class UnexpectedAnswer(TangentError):
    default_remedy = "look whether the address is that of a service, and of this version"


class NotFinished(TangentError):
    default_remedy = "call wait() again: the work goes on meanwhile"


class Failed(TangentError):
    pass


class NotLinear(TangentError):
    pass


class BadInput(TangentError):
    pass


BY_STATUS: dict[int, type[Refused]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    412: StaleVersion,
    413: TooLarge,
    415: Unsupported,
    422: Invalid,
    429: TooManyRequests,
}


def refusal(status: int, problem: dict[str, Any]) -> Refused:
    """Return the error of an answer with this status."""
    family = BY_STATUS.get(status, Unavailable if status >= 500 else Refused)
    return family(status, problem)
