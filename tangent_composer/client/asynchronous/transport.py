"""One request to a service and its repetitions; a refusal becomes an exception."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from tangent_composer.client.asynchronous.streams import AsyncStream
from tangent_composer.client.errors import (
    Gone,
    NoAnswer,
    NotFound,
    Refused,
    TangentError,
    UnexpectedAnswer,
    refusal,
)
from tangent_composer.client.idempotency import MAX_LINKS, key_of, next_key, random_key
from tangent_composer.client.request_checks import checked_address, checked_key, sendable
from tangent_composer.client.retries import DONE, Retries, may_be_done, may_repeat
from tangent_composer.client.waiting import AsyncWork, Deadline, async_pause
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.receipts import ReceiptOut

Model = TypeVar("Model", bound=BaseModel)
Body = Callable[[], Mapping[str, Any]]  # httpx's arguments for the body, made anew each time
CONNECT_SECONDS = 10.0  # at most
PAGE = 100  # the most that a service gives at a time


@dataclass(frozen=True)
class AsyncAnswer(Generic[Model]):
    """The service's answer, and whether an earlier request had made it."""

    value: Model
    replayed: bool


class AsyncTransport:
    """The connection to one service."""

    def __init__(self, url: str, api_key: str | None, timeout: float, retries: Retries) -> None:
        self.url, self.retries, self._timeout = checked_address(url), retries, timeout
        headers = {"Authorization": f"Bearer {checked_key(api_key)}"} if api_key else {}
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            verify=self.url.startswith("https:"),  # loading the authorities takes a while
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(
        self, path: str, model: type[Model], *, until: Deadline | None = None, **query: Any
    ) -> Model:
        """Return what the service has at this path, as `send` does."""
        return parsed(await self.send("GET", path, params=_query(query), until=until), model)

    async def post(self, path: str, model: type[Model], json: Any = None, **query: Any) -> Model:
        """Return the answer to a request that may be sent again, by a key of its own.

        Only for routes that honour such a key, or where a repetition does nothing.
        """
        body = None if json is None else (lambda: {"json": json})
        answer = await self.send("POST", path, body=body, params=_query(query), key=random_key())
        return parsed(answer, model)

    async def delete(self, path: str, headers: Mapping[str, str] | None = None) -> None:
        """Delete what is at this path, also where only the answer was lost."""
        try:
            await self.send("DELETE", path, headers=headers)
        except (NotFound, Gone) as error:
            if not error.may_be_done:
                raise

    async def unlearn(self, path: str, **query: Any) -> ReceiptOut:
        """Delete what is at this path; return the receipt, also where only the answer was lost."""
        try:
            answer = await self.send("DELETE", path, params=_query(query))
        except Gone as error:
            if not (error.may_be_done and error.receipt_id):
                raise
            return await self.get(f"/v1/receipts/{error.receipt_id}", ReceiptOut)
        return parsed(answer, ReceiptOut)

    async def each(self, path: str, model: type[Model], **query: Any) -> AsyncIterator[Model]:
        """Yield the items of all pages of a list."""
        page_of: Any = Listing
        query = {"limit": PAGE} | query
        after: str | None = query.pop("after", None)
        while True:
            page = await self.get(path, page_of[model], **query, after=after)
            for item in page.data:
                yield item
            if not page.has_more:
                return
            after = page.next

    async def create(
        self,
        path: str,
        model: type[Model],
        *,
        content: Any,
        body: Body,
        key: str | None = None,
        has_ended: Callable[[Model], bool] = lambda made: False,
        timeout: float | None = None,
    ) -> AsyncAnswer[Model]:
        """Return what the request creates, or what an earlier one with this content created.

        key: instead of the one that follows from the content. has_ended: whether what was created
        is of no use any more, as a failed training, so that a new one is to be made.
        """
        with sendable():
            mine = key or key_of(path, content)
        for _ in range(MAX_LINKS):
            try:
                answer = await self.send("POST", path, body=body, key=mine, timeout=timeout)
            except Gone as error:
                may_follow = key is None and not error.may_be_done and error.receipt_id
                if error.code != "idempotency_key_spent" or not may_follow:
                    raise
                mine = next_key(mine, str(error.receipt_id))
                continue
            replayed = answer.headers.get("idempotent-replayed") == "true"
            made = parsed(answer, model)
            if key is None and replayed and has_ended(made):
                mine = next_key(mine, str(getattr(made, "id", "")))
                continue
            return AsyncAnswer(made, replayed)
        answer = await self.send("POST", path, body=body, key=random_key(), timeout=timeout)
        return AsyncAnswer(parsed(answer, model), replayed=False)

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        key: str | None = None,
        reads: bool = False,
        timeout: float | None = None,
        until: Deadline | None = None,
    ) -> httpx.Response:
        """Return the answer to a request, which is sent again where that does nothing twice.

        Raises:
            Refused: the service answered with a problem.
            NoAnswer: nothing answered.
            NotFinished: neither is known at the end of the wait, `until`.
        """
        sent = dict(headers or {}) | ({"Idempotency-Key": key} if key else {})

        async def once() -> httpx.Response:
            data = dict(body() if body else {}) | self._options(timeout, until)
            with sendable():
                return await self._http.request(method, path, params=params, headers=sent, **data)

        return await self._answered(once, may_repeat(method, key=key, reads=reads), until)

    def _options(self, timeout: float | None, until: Deadline | None) -> dict[str, Any]:
        """Return httpx's arguments for the longest silence; none of them for the client's own."""
        if until is None:
            return {} if timeout is None else {"timeout": timeout}
        seconds = until.of_request(self._timeout)
        return {"timeout": httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))}

    async def _answered(
        self, once: AsyncWork[httpx.Response], again: bool, until: Deadline | None = None
    ) -> httpx.Response:
        """Return the answer that is no refusal; `again`: also after one that may have been done."""
        is_lost = False
        for attempt in count(1):
            try:
                answer = await once()
            except httpx.TransportError as error:
                seconds, is_unsure = self._pause_after(error, attempt, again), _was_sent(error)
                failure: TangentError = no_answer(self.url, error)
                is_over = until is not None and until.left() == 0
            else:
                if answer.is_success:
                    return answer
                failure, is_over = _refusal(answer, is_lost), False
                seconds, is_unsure = self._pause_after_refusal(answer, failure.code, attempt, again)
            if seconds is None and not is_over:
                raise failure from None
            is_lost = is_lost or is_unsure
            await self._pause(seconds or 0.0, until, failure)
        raise AssertionError("unreachable: the loop has no end")

    async def _pause(self, seconds: float, until: Deadline | None, failure: TangentError) -> None:
        """Wait before the next attempt, to the end of the whole wait at most.

        Raises:
            NotFinished: that is sooner.
        """
        left = seconds if until is None else until.left()
        await async_pause(min(seconds, left))
        if until is not None and seconds >= left:
            raise until.unanswered(failure) from None

    def _pause_after(self, error: httpx.TransportError, attempt: int, again: bool) -> float | None:
        may_repeat_it = again or not _was_sent(error)
        if isinstance(error, httpx.UnsupportedProtocol) or not may_repeat_it:
            return None
        return self.retries.pause(attempt, None, {})

    def _pause_after_refusal(
        self, answer: httpx.Response, code: str, attempt: int, again: bool
    ) -> tuple[float | None, bool]:
        """Return the seconds until the next attempt, and whether this one may have been done."""
        is_unsure = may_be_done(answer.status_code, code)
        if code in DONE or (is_unsure and not again):
            return None, is_unsure
        return self.retries.pause(attempt, answer.status_code, answer.headers), is_unsure

    @asynccontextmanager
    async def streamed(self, path: str, **query: Any) -> AsyncIterator[AsyncStream]:
        """Yield the answer to a GET while its body is on its way, sent again until it begins."""
        begun: list[AsyncStream] = []

        async def once() -> httpx.Response:
            with sendable():
                request = self._http.build_request("GET", path, params=_query(query))
                answer = await self._http.send(request, stream=True)
                begun[:] = [await AsyncStream.begun(answer)]
            return answer

        answer = await self._answered(once, again=True)
        try:
            yield begun[0]
        except httpx.TransportError as error:
            raise no_answer(self.url, error) from None
        finally:
            await answer.aclose()


def parsed(answer: httpx.Response, model: type[Model]) -> Model:
    """Return the answer's JSON as this model.

    Raises:
        UnexpectedAnswer: it is none.
    """
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise UnexpectedAnswer(
            "unexpected_answer",
            f"{answer.request.method} {answer.url.path} answered something else than "
            f"{model.__name__} ({error.error_count()} differences)",
        ) from error


def no_answer(url: str, error: httpx.TransportError) -> NoAnswer:
    """Return the error for a service that did not answer."""
    if isinstance(error, httpx.TimeoutException):
        return NoAnswer("timeout", f"{url} did not answer in time")
    return NoAnswer("not_reached", f"{url} cannot be reached ({error or type(error).__name__})")


def _was_sent(error: httpx.TransportError) -> bool:
    return not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def _refusal(answer: httpx.Response, is_lost: bool) -> Refused | UnexpectedAnswer:
    try:
        problem = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        problem = None
    if not isinstance(problem, dict):
        return UnexpectedAnswer(
            f"http_{answer.status_code}",
            f"{answer.request.method} {answer.url.path} answered {answer.status_code} "
            "without a problem document",
        )
    error = refusal(answer.status_code, problem)
    error.may_be_done = is_lost
    return error


def _query(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters without those that are None; truth as JSON writes it."""
    shown = {True: "true", False: "false"}
    return {
        name: shown[value] if isinstance(value, bool) else value
        for name, value in given.items()
        if value is not None
    }
