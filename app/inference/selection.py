"""A request's selection, read so that no deletion happens between reading and answering.

    answer = read_consistently(…, work)         in a thread, which deletions here wait for
    answer = await read_as_of_now(…, work)      which no deletion waits for

A deletion ends the lease as of which the selection was read, in every process; any other change of
a selection raises a version. If that comes before the answer, the selection is read again, and the
work repeats unless it would have the same parts.
"""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, Protocol, TypeVar

from sqlalchemy.orm import Session, sessionmaker

from app.errors import Busy, NotReady, Problem
from app.files.blobs import LocalBlobs
from app.files.component_files import DamagedFile
from app.inference.deletion_gate import Ticket
from app.inference.engines import AnyEngine
from app.inference.known_selections import KnownSelections
from app.inference.opened_spaces import Parts, parts_of
from app.store import damage
from app.store.compositions import Selection
from app.store.members import DAMAGED
from tangent_composer.schemas.predictions import SelectionQuery

ATTEMPTS = 5

Result = TypeVar("Result")


class Reading(Protocol):
    """The parts that a selection is read with, see app.parts."""

    @property
    def reading(self) -> sessionmaker[Session]: ...
    @property
    def sessions(self) -> sessionmaker[Session]: ...
    @property
    def blobs(self) -> LocalBlobs: ...
    @property
    def engine(self) -> AnyEngine: ...
    @property
    def selections(self) -> KnownSelections: ...


class Call(Protocol):
    """Runs a function in a thread, and returns what it returns."""

    async def __call__(self, function: Callable[[], Result], /) -> Result: ...


class Threads(Protocol):
    """Threads for what may take time."""

    @property
    def call(self) -> Call:
        """Runs a function in a thread."""

    @property
    def read(self) -> Call:
        """Runs one that reads rows, behind nothing that takes long."""


def once_for_each(function: Callable[[Selection], Result]) -> Callable[[Selection], Result]:
    """Return the function, which computes its result once as long as a selection is kept."""

    @wraps(function)
    def once(selection: Selection) -> Result:
        found: Result | None = selection.computed.get(function)
        if found is None:
            found = selection.computed[function] = function(selection)
        return found

    return once


@once_for_each
def contents(selection: Selection) -> list[str]:
    """Return the hashes of all files that an answer may have been made of."""
    parts = [part for part, _ in selection.members]
    if selection.refinement is not None:
        parts.append(selection.refinement)
    return [part.sha256 for part in parts if part.sha256]


def selection_fields(selection: Selection, *, labelled: bool = False) -> dict[str, Any]:
    """Return the fields that describe an answer's selection, with every weight as a number.

    With `labelled` each component has its labels too.
    """
    fields = dict(_fields(selection))
    if labelled:
        fields["components"] = [
            each | {"labels": sorted(part.labels)}
            for each, (part, _) in zip(fields["components"], selection.members, strict=True)
        ]
    return fields


@once_for_each
def _fields(selection: Selection) -> dict[str, Any]:
    none = 1 / len(selection.members) if selection.rule == "average" else 1.0
    named = selection.composition
    return {
        "space": selection.space.name,
        "fingerprint": selection.space.fingerprint,
        "rule": selection.rule,
        "composition": None if named is None else {"name": named.name, "etag": selection.etag},
        "components": [
            {"id": part.id, "weight": none if weight is None else weight, "sha256": part.sha256}
            for part, weight in selection.members
        ],
        "joint": selection.joint,
    }


@once_for_each
def served_parts(selection: Selection) -> Parts:
    """Return the files and weights of the model that answers."""
    return parts_of(selection.served[0])


def unavailable_components(selection: Selection) -> list[dict[str, str]]:
    """Return the components that the answer is without because their files are damaged."""
    return [{"id": each, "code": DAMAGED} for each in selection.damaged]


def read_consistently(
    reading: sessionmaker[Session],
    engine: AnyEngine,
    query: SelectionQuery,
    work: Callable[[Selection], Result],
    *,
    sessions: sessionmaker[Session],
    blobs: LocalBlobs,
    selections: KnownSelections,
    prepare: Callable[[Selection], object] = bool,
    ticket: Ticket | None = None,
) -> Result:
    """Return the result of `work` on the selection, with no deletion in any process meanwhile.

    A component whose file proves damaged fails at once. `prepare` is called first, and again if the
    selection has changed; deletions wait for `work` only, for which `ticket` enters the gate.

    Raises:
        NotReady: `selection_changing`, overtaken by deletions in every attempt; `lease_expired`;
            `component_damaged` if a component that the query names is damaged, or all are.
    """
    attempts = 0
    while attempts < ATTEMPTS:
        epoch, selection = selections.find(reading, query)
        engine.respect(epoch)
        prepare(selection)
        if ticket is not None:
            ticket.enter()
        try:
            result = work(selection)
        except DamagedFile as lost:  # or deleted by another process in between
            attempts += not damage.note(sessions, blobs, lost)
            selections.forget()
            continue
        attempts += 1
        if selections.lease.covers(epoch):
            if ticket is not None:
                ticket.epoch = epoch
            return result
    raise _changing()


async def read_as_of_now(
    parts: Reading,
    query: SelectionQuery,
    work: Callable[[Selection], Awaitable[Result]],
    *,
    ticket: Ticket,
    call: Call,
    made: "tuple[Selection, Result] | None" = None,
) -> tuple[Selection, Result]:
    """Return the selection as of now, and the result of `work` on it; note the epoch in `ticket`.

    `call` runs in a thread what may take time. `made` was returned before: if the selection still
    has the same parts, its result is as good now.

    Raises:
        NotReady, Problem: as `read_consistently`.
    """
    attempts, read = 0, await _read(parts, query, call)
    while attempts < ATTEMPTS:
        epoch, selection = read
        if not parts.engine.respects(epoch):
            await call(partial(parts.engine.respect, epoch))
        if made is None or not _same_parts(made[0], selection):
            try:
                made = selection, await work(selection)
            except DamagedFile as lost:  # or deleted in between
                attempts += not await call(partial(_note, parts, lost))
                read = await _read(parts, query, call)
                continue
            except Problem as problem:  # it may name what has been deleted meanwhile
                read, attempts = await _read(parts, query, call), attempts + 1
                if isinstance(problem, Busy) or _found_again(read, epoch, selection):
                    raise
                continue
        attempts += 1
        read = await _read(parts, query, call)
        if _found_again(read, epoch, selection):
            ticket.epoch = epoch
            return selection, made[1]
    raise _changing()


def _note(parts: Reading, lost: DamagedFile) -> bool:
    """Note the damage, and read selections anew; return whether it is damage and not a deletion."""
    parts.selections.forget()
    return damage.note(parts.sessions, parts.blobs, lost)


async def _read(parts: Reading, query: SelectionQuery, call: Call) -> tuple[int, Selection]:
    """Return the epoch as of which to answer, and the query's selection, as they are now."""
    known = parts.selections.known(parts.reading, query)
    if known is not None:
        return known
    return await call(lambda: parts.selections.find(parts.reading, query))


def _found_again(read: tuple[int, Selection], epoch: int, selection: Selection) -> bool:
    """Return whether what was read now is as of this epoch still, with the same parts."""
    return read[0] == epoch and _same_parts(selection, read[1])


def _same_parts(one: Selection, other: Selection) -> bool:
    """Return whether both selections give the same answer, in every field of it."""
    return one is other or _described(one) == _described(other)


def _described(selection: Selection) -> tuple[Any, ...]:
    refinement = selection.refinement
    return (
        selection_fields(selection),
        refinement and (refinement.id, refinement.status, refinement.sha256),
        *(selection.retraining, selection.damaged, selection.to_refine),
    )


def _changing() -> NotReady:
    return NotReady(
        "selection_changing",
        f"the selected components changed or lacked their files in {ATTEMPTS} attempts: try again; "
        "if it stays so, the blob folder is not there",
    )
