"""Passes of many images through a selection, as jobs: evaluations and batch predictions."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, PrivateAttr

from tangent_composer.client.asynchronous.transport import AsyncTransport
from tangent_composer.client.errors import Conflict, Failed
from tangent_composer.client.paths import segment
from tangent_composer.client.progress import Shown, Step, shown
from tangent_composer.client.waiting import Deadline, async_pause, intervals
from tangent_composer.schemas.passes import PassError, PassProgress

GOING_ON = ("queued", "running")


class PassOut(Protocol):
    """The part of a view that both kinds have."""

    id: str
    status: Any
    progress: PassProgress
    error: PassError | None


class AsyncPass(BaseModel):
    """A job that knows how to ask for itself again."""

    _jobs: Any = PrivateAttr()  # the AsyncPasses that it is of


Item = TypeVar("Item", bound=AsyncPass)


class AsyncPasses(Generic[Item]):
    """The jobs of one kind, at one path."""

    PATH: ClassVar[str]
    NOUN: ClassVar[str]  # in sentences
    ACTIVITY: ClassVar[str]  # beside the bar
    _model: type[Item]

    def __init__(self, transport: AsyncTransport, progress: Shown) -> None:
        self._transport, self._progress = transport, progress

    async def get(self, id_: str) -> Item:
        """Return a job."""
        return self._bound(await self._transport.get(f"{self.PATH}/{segment(id_)}", self._model))

    async def each(self, **filters: Any) -> AsyncIterator[Item]:
        """Yield the jobs, filtered by space, status, dataset_id or component_id."""
        async for each in self._transport.each(self.PATH, self._model, **filters):
            yield self._bound(each)

    async def wait(
        self, id_: str, *, timeout: float | None = None, progress: Shown | None = None
    ) -> Item:
        """Return the job once it is ready; may be called again after an interruption.

        Raises:
            Failed: it failed, was cancelled, or a part of it was deleted.
            NotFinished: it is not ready after `timeout` seconds.
        """
        end, pauses = Deadline(f"{self.NOUN} {id_}", timeout), intervals()
        path = f"{self.PATH}/{segment(id_)}"
        how = self._progress if progress is None else progress
        with shown(how, f"{self.ACTIVITY} {id_}") as report:
            while True:
                item = self._bound(await self._transport.get(path, self._model, until=end))
                found: PassOut = item  # type: ignore[assignment]
                report(Step(found.progress.done, found.progress.total, found.status))
                if found.status == "ready":
                    return item
                if found.status not in GOING_ON:
                    raise self._failure(found)
                if not (left := end.left()):
                    raise end.unfinished(found.status)
                await async_pause(min(next(pauses), left))

    async def cancel(self, id_: str) -> Item:
        """Cancel a job."""
        try:
            path = f"{self.PATH}/{segment(id_)}/cancel"
            return self._bound(await self._transport.post(path, self._model))
        except Conflict as error:
            if not error.may_be_done:
                raise
            found = await self.get(id_)
            if found.status != "cancelled":  # type: ignore[attr-defined]
                raise
            return found

    async def delete(self, id_: str) -> None:
        """Delete a job with its results."""
        await self._transport.delete(f"{self.PATH}/{segment(id_)}")

    def _bound(self, item: Item) -> Item:
        item._jobs = self
        return item

    def _failure(self, found: PassOut) -> Failed:
        if found.error is not None:
            return Failed(found.error.code, f"{self.NOUN} {found.id}: {found.error.detail}")
        return Failed(
            found.status, f"{self.NOUN} {found.id} is {found.status}", "start another one"
        )
