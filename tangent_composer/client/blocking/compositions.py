# Generated from ../asynchronous by .ci/blocking-client: change that, and run it again.
"""Compositions: named choices of components, with weights and a rule."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from tangent_composer.client.blocking.transport import Transport, parsed
from tangent_composer.client.errors import StaleVersion
from tangent_composer.client.paths import segment
from tangent_composer.client.selection import Chosen, members
from tangent_composer.schemas.compositions import CompositionOut
from tangent_composer.vocabulary import Constraint, Objective, Rule


class Compositions:
    """The compositions of a service."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def put(
        self,
        name: str,
        components: Chosen | Literal["all"] = "all",
        *,
        rule: Rule = "joint",
        space: str | None = None,
        metadata: Mapping[str, str] | None = None,
        if_match: str | None = None,
    ) -> CompositionOut:
        """Make a composition, or change the one of this name.

        if_match: the etag of the version that may be changed; any other one is refused.
        """
        chosen: Any = "all" if isinstance(components, str) and components == "all" else None
        body = {
            "rule": rule,
            "components": chosen or members(components),
            "space": space,
            "metadata": None if metadata is None else dict(metadata),
        }
        sent = {key: value for key, value in body.items() if value is not None}
        path, headers = f"/v1/compositions/{segment(name)}", _match(if_match)
        try:
            answer = self._transport.send(
                "PUT", path, body=lambda: {"json": sent}, headers=headers
            )
        except StaleVersion as error:
            if not error.may_be_done:
                raise
            found = self.get(name)  # the version that the lost answer told of, or another one
            if not _is(found, sent):
                raise
            return found
        return parsed(answer, CompositionOut)

    def get(self, name: str) -> CompositionOut:
        """Return a composition."""
        return self._transport.get(f"/v1/compositions/{segment(name)}", CompositionOut)

    def each(self, **filters: Any) -> Iterator[CompositionOut]:
        """Yield the compositions, filtered by space or component_id."""
        return self._transport.each("/v1/compositions", CompositionOut, **filters)

    def solve(
        self,
        name: str,
        dataset_id: str,
        *,
        split: str | None = None,
        objective: Objective | None = None,
        l2: float | None = None,
        constraint: Constraint | None = None,
    ) -> CompositionOut:
        """Fit the weights of a composition to a dataset."""
        given = {
            "dataset_id": dataset_id,
            "split": split,
            "objective": objective,
            "l2": l2,
            "constraint": constraint,
        }
        body = {key: value for key, value in given.items() if value is not None}
        return self._transport.post(
            f"/v1/compositions/{segment(name)}/solve", CompositionOut, body
        )

    def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete a composition; its components stay."""
        self._transport.delete(f"/v1/compositions/{segment(name)}", headers=_match(if_match))


def _is(found: CompositionOut, sent: Mapping[str, Any]) -> bool:
    """Return whether the composition is as a request to put it says."""
    wanted, has = sent["components"], found.components
    if wanted != "all":
        wanted = {each["id"]: each.get("weight") for each in wanted}
    if has != "all":
        has = {each.id: each.weight for each in has}  # type: ignore[assignment]  # to compare
    rest = (found.rule, found.space, found.metadata, found.solved)
    asked = (sent["rule"], sent.get("space", "default"), sent.get("metadata", {}), None)
    return bool(has == wanted and rest == asked)


def _match(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"If-Match": f'"{etag}"'}
