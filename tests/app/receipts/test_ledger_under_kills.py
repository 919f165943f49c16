"""The ledger under many deleting processes, some of them killed: no gap, no fork, nothing twice."""

import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from app.database.ids import new_id
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import Component, Receipt, ReceiptKey, Tombstone
from app.receipts import ledger as receipts
from app.receipts import signing
from app.settings import Settings
from app.store import counts, lineage, spaces
from tangent_composer.receipts import signatures
from tangent_composer.receipts.offline import check
from tangent_composer.schemas.receipts import ReceiptOut
from tests.support.deletions import Deleting
from tests.support.signing_keys import key_file

COUNT = 40


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path) -> Settings:
    """Settings of an empty database of either kind, with a key."""
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    shutil.copytree(migrated, tmp_path / "data")
    return Settings(
        data_dir=tmp_path / "data",
        database_url=url,
        api_key=None,
        receipt_key_file=key_file(tmp_path / "key.pem"),
    )


@pytest.fixture
def sessions(settings: Settings) -> Iterator[sessionmaker[Session]]:
    engine = open_engine(settings)
    yield session_factory(engine)
    engine.dispose()


def filled(sessions: sessionmaker[Session]) -> list[str]:
    """Add this many ready components without files to one space; return their ids."""
    names = ("backbone", "scope", "fingerprint", "engine", "engine_reason", "default_rule")
    numbers = ("image_size", "parameters_total", "parameters_tangent")
    facts = dict.fromkeys(names, "x") | dict.fromkeys(numbers, 1) | {"declared_labels": []}
    with transaction(sessions) as session:
        space = spaces.create(session, name="default", opened=facts)
        return [
            lineage.add_import(
                session,
                Component(
                    id=new_id("cmp"),
                    space=space.name,
                    name="x",
                    hyperparameters={},
                    seed=0,
                    labels={f"label {number}": 1},
                    fingerprint=space.fingerprint,
                    blob_key=f"components/{number}",
                    sha256=f"{number:064x}",
                    bytes=1,
                ),
            ).id
            for number in range(COUNT)
        ]


def reach(sessions: sessionmaker[Session], number: int) -> None:
    """Wait until this many have been deleted, by any process."""
    end = time.monotonic() + 60
    reading = session_factory(sessions.kw["bind"], read_only=True)
    while time.monotonic() < end:
        with transaction(reading) as session:
            if counts.deletions_so_far(session) >= number:
                return
        time.sleep(0.005)
    raise AssertionError(f"no {number} deletions within a minute")


def sound(settings: Settings, sessions: sessionmaker[Session], ids: list[str]) -> None:
    """Assert that every id has one receipt, and that all receipts are signed and one chain."""
    with transaction(sessions) as session:
        ledger = list(session.scalars(select(Receipt).order_by(Receipt.number)))
        assert [receipt.number for receipt in ledger] == list(range(1, len(ids) + 1))
        assert len({receipt.previous_hash for receipt in ledger}) == len(ids), "a fork"
        assert sorted(each.body["subject"]["id"] for each in ledger) == sorted(ids)
        assert receipts.broken_at(session) is None
        stones = {row.subject_id: row.receipt_id for row in session.scalars(select(Tombstone))}
        assert stones == {each.body["subject"]["id"]: each.id for each in ledger}
        assert session.scalar(select(func.count()).select_from(ReceiptKey)) == 1
        left = set(session.scalars(select(Component.id)))
        assert not left & set(ids)
    # Each saw what the one before it had left.
    manifests = [receipt.body["manifests"][0] for receipt in ledger]
    for earlier, later in pairwise(manifests):
        assert later["before"] == earlier["after"]
    signer = signing.signer(settings.receipt_key_file)
    keys = {signer.key_id: signatures.public_key(signer.public_key)}
    assert check([ReceiptOut.of(each).model_dump() for each in ledger], keys) == []


def test_many_processes_of_which_some_are_killed_leave_one_chain(settings, sessions):
    ids = filled(sessions)
    started = [Deleting(settings) for _ in range(4)]
    for turn, process in enumerate(started):
        at = turn * COUNT // 4
        process.begin(ids[at:] + ids[:at])  # all of them delete everything
    said: list[str] = []
    for process, number in zip(started[:3], (5, 10, 15), strict=True):
        reach(sessions, number)
        said += process.kill()
    said += started[3].rest()
    last = Deleting(settings)
    last.begin(ids)
    finished = last.rest()

    sound(settings, sessions, ids)
    assert len(said) == len(set(said)) and set(said) <= set(ids)
    assert not set(finished) & set(said)


def test_a_process_killed_in_the_middle_of_a_deletion_leaves_none_of_it(settings, sessions):
    ids = filled(sessions)
    one = Deleting(settings, stop=ids[2])
    one.begin(ids[:3])
    assert [one.word() for _ in range(3)] == [ids[0], ids[1], "stopped"]
    other = Deleting(settings)
    other.begin(ids[3:6])  # it waits for the ledger
    assert one.kill() == []

    assert other.rest() == ids[3:6]

    with transaction(sessions) as session:
        assert session.get(Component, ids[2]) is not None
        assert session.get(Tombstone, ids[2]) is None
    sound(settings, sessions, [*ids[:2], *ids[3:6]])
    again = Deleting(settings)
    again.begin(ids[:3])
    assert again.rest() == [ids[2]]
    sound(settings, sessions, ids[:6])
