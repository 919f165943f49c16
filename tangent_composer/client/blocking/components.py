# Generated from ../asynchronous by .ci/blocking-client: change that, and run it again.
"""Components: trainings and their waits, previews and deletions."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import PrivateAttr

from tangent_composer.client.archives import as_text
from tangent_composer.client.blocking.transport import Transport
from tangent_composer.client.errors import BadInput, Conflict, Failed
from tangent_composer.client.paths import local, segment
from tangent_composer.client.progress import Shown, Step, shown
from tangent_composer.client.waiting import Deadline, pause, intervals
from tangent_composer.schemas.components import (
    ComponentOut,
    EventOut,
    ImportedComponent,
    SignatureOut,
)
from tangent_composer.schemas.previews import PreviewOut
from tangent_composer.schemas.receipts import ReceiptOut

ENDED = ("failed", "cancelled")


class Component(ComponentOut):
    """A component as it was when last asked for, and what can be done with it."""

    _components: "Components" = PrivateAttr()
    _was_there: bool = PrivateAttr(default=False)

    @property
    def was_there(self) -> bool:
        """True if an earlier request with the same content had queued it."""
        return self._was_there

    def wait(
        self, *, timeout: float | None = None, progress: Shown | None = None
    ) -> "Component":
        """Return the component once it is ready; may be called again after an interruption.

        Raises:
            Failed: its training failed or was cancelled.
            NotFinished: it is not ready after `timeout` seconds.
        """
        return self._components.wait(self.id, timeout=timeout, progress=progress)

    def refresh(self) -> "Component":
        """Return the component as it is now."""
        return self._components.get(self.id)

    def cancel(self) -> "Component":
        """Cancel its training."""
        return self._components.cancel(self.id)

    def preview(self, **on: Any) -> PreviewOut:
        """Return what its deletion would change."""
        return self._components.preview(self.id, **on)

    def unlearn(self) -> ReceiptOut:
        """Delete it, so that every answer is as if it had never been trained."""
        return self._components.unlearn(self.id)


class Components:
    """The components of a service."""

    def __init__(self, transport: Transport, progress: Shown) -> None:
        self._transport, self._progress = transport, progress

    def train(
        self,
        dataset_id: str,
        *,
        name: str | None = None,
        space: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        metadata: Mapping[str, str] | None = None,
        privacy: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Component:
        """Queue a training; `wait()` of the component returns it when it is ready.

        The same training of the same dataset is queued once: called again, this returns the
        component that is there, unless it has failed or was cancelled.
        """
        given = {
            "dataset_id": dataset_id,
            "name": name,
            "space": space,
            "hyperparameters": None if hyperparameters is None else dict(hyperparameters),
            "seed": seed,
            "metadata": None if metadata is None else dict(metadata),
            "privacy": None if privacy is None else dict(privacy),
        }
        body = {key: value for key, value in given.items() if value is not None}
        answer = self._transport.create(
            "/v1/components",
            Component,
            content=body,
            body=lambda: {"json": body},
            key=idempotency_key,
            has_ended=lambda made: made.status in ENDED,
        )
        answer.value._was_there = answer.replayed
        return self._bound(answer.value)

    def import_file(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        allow_duplicate: bool = False,
    ) -> ImportedComponent:
        """Import a component's file that was trained elsewhere in the same space.

        metrics: as its trainer has measured them; shown as the party's own. The same file with the
        same fields is imported once, however often this is called.
        """
        file = local(path)
        try:
            data = file.read_bytes()
        except OSError as error:
            raise BadInput(
                "cannot_read", f"{file} cannot be read: {error.strerror}", "give a safetensors file"
            ) from None
        form = {} if name is None else {"name": name}
        if metrics:
            form["metrics"] = json.dumps(metrics, sort_keys=True)
        if allow_duplicate:
            form["allow_duplicate"] = "true"
        answer = self._transport.create(
            "/v1/components/import",
            ImportedComponent,
            content={"sha256": _sha256(data), "file": as_text(file.name), "fields": form},
            body=lambda: {"data": form, "files": {"file": (as_text(file.name), data)}},
        )
        return answer.value

    def get(self, component_id: str) -> Component:
        """Return a component."""
        path = f"/v1/components/{segment(component_id)}"
        return self._bound(self._transport.get(path, Component))

    def each(self, **filters: Any) -> Iterator[Component]:
        """Yield the components, filtered by name, label, status, space or dataset_id."""
        for component in self._transport.each("/v1/components", Component, **filters):
            yield self._bound(component)

    def wait(
        self, component_id: str, *, timeout: float | None = None, progress: Shown | None = None
    ) -> Component:
        """Return the component once it is ready; may be called again after an interruption.

        Raises:
            Failed: its training failed or was cancelled.
            NotFinished: it is not ready after `timeout` seconds.
        """
        end, pauses = Deadline(f"component {component_id}", timeout), intervals()
        path = f"/v1/components/{segment(component_id)}"
        how = self._progress if progress is None else progress
        with shown(how, f"training {component_id}") as report:
            while True:
                component = self._transport.get(path, Component, until=end)
                report(_step(component))
                if component.status == "ready":
                    return self._bound(component)
                if component.status in ENDED:
                    raise _failure(component)
                if not (left := end.left()):
                    raise end.unfinished(component.status)
                pause(min(next(pauses), left))

    def events(self, component_id: str, after: int = 0) -> Iterator[EventOut]:
        """Yield the events in the component's life so far, after the one of this number."""
        return self._events(component_id, after)

    def _events(self, component_id: str, after: int) -> Iterator[EventOut]:
        path = f"/v1/components/{segment(component_id)}/events"
        for event in self._transport.each(path, EventOut):
            if event.id > after:
                yield event

    def cancel(self, component_id: str) -> Component:
        """Cancel the training of a component."""
        path = f"/v1/components/{segment(component_id)}/cancel"
        try:
            return self._bound(self._transport.post(path, Component))
        except Conflict as error:
            if not error.may_be_done:
                raise
            found = self.get(component_id)
            if found.status != "cancelled":
                raise
            return found

    def delta(self, component_id: str, *, statistics: bool = True) -> bytes:
        """Return the component's safetensors file."""
        path = f"/v1/components/{segment(component_id)}/delta"
        params = {} if statistics else {"statistics": "false"}
        return (self._transport.send("GET", path, params=params)).content

    def signature(self, component_id: str) -> SignatureOut:
        """Return the signature of the component's file."""
        return self._transport.get(
            f"/v1/components/{segment(component_id)}/signature", SignatureOut
        )

    def preview(
        self, component_id: str, *, dataset_id: str | None = None, split: str | None = None
    ) -> PreviewOut:
        """Return what deleting the component would change, on a dataset if one is given."""
        path = f"/v1/components/{segment(component_id)}/deletion-preview"
        return self._transport.get(path, PreviewOut, dataset_id=dataset_id, split=split)

    def unlearn(self, component_id: str) -> ReceiptOut:
        """Delete a component, so that every answer is as if it had never been trained."""
        return self._transport.unlearn(f"/v1/components/{segment(component_id)}")

    def _bound(self, component: Component) -> Component:
        component._components = self
        return component


def _step(component: ComponentOut) -> Step:
    progress = component.progress
    note = progress.phase or component.status
    if progress.eta_seconds:
        note += f", {progress.eta_seconds:.0f} s to go"
    return Step(progress.step, progress.total or None, note)


def _failure(component: ComponentOut) -> Failed:
    if component.error is None:
        return Failed(
            component.status,
            f"component {component.id} is {component.status}",
            "train it again",
        )
    return Failed(component.error.code, f"component {component.id}: {component.error.detail}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
