"""The ledger as a transparency log: what the service shows, and its stored tree."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.cli import main
from app.database import migrate
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import Receipt
from app.receipts import ledger, tree
from app.settings import Settings
from tangent_composer.receipts import signatures
from tests.support.client import delete, verify
from tests.support.problems import problem
from tests.support.rfc6962 import audit_path, subproof, tree_hash
from tests.support.service import Service
from tests.support.signing_keys import key_file

SCOPE = "head"
Serve = Callable[..., Service]


def deletions(service: Service, number: int) -> list[dict[str, Any]]:
    ids = [service.dataset({"cat": 2}, start=2 * at) for at in range(number)]
    return [delete(service, f"datasets/{id_}") for id_ in ids]


@pytest.fixture(params=["sqlite", "postgres"])
def signing_service(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Service:
    """A service with a key, on each kind of database."""
    settings = {"receipt_key_file": key_file(tmp_path / "key.pem")}
    if request.param == "postgres":
        settings["database_url"] = request.getfixturevalue("postgres")
    return serve(**settings)


def get(service: Service, path: str) -> str:
    answer = service.client.get(f"/v1/receipts{path}")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_what_the_service_shows_is_enough_to_check_one_receipt_and_the_growth_of_the_log(
    signing_service, tmp_path, capsys
):
    service = signing_service
    found = problem(service.client.get("/v1/receipts/checkpoint"), 409, "no_receipts")
    assert "the first deletion makes one" in found["detail"]
    first = deletions(service, 3)
    old = get(service, "/checkpoint")
    receipts = [*first, *deletions(service, 4)]
    new = get(service, "/checkpoint")
    key = json.loads(get(service, "/key"))["public_key"]
    saved = {
        "key": key,
        "old": old,
        "new": new,
        "all": get(service, ""),
        "receipt": get(service, f"/{receipts[1]['id']}"),
        "inclusion": get(service, f"/{receipts[1]['id']}/inclusion"),
        "growth": get(service, "/consistency?first=3"),
    }
    files = {name: tmp_path / name for name in saved}
    for name, path in files.items():
        path.write_text(saved[name])

    # By the definitions alone.
    entries = tuple(receipt["hash"].encode() for receipt in receipts)
    origin, size, root, gap, line, end = new.split("\n")
    assert (origin, size, gap, end) == (f"tangent-composer/{first[0]['id']}", "7", "", "")
    assert base64.b64decode(root) == tree_hash(entries)
    assert base64.b64decode(old.split("\n")[2]) == tree_hash(entries[:3])
    dash, name, signature = line.split(" ")
    assert (dash, name) == ("\u2014", origin)
    public = signatures.public_key(key)
    named = hashlib.sha256(origin.encode() + b"\n\x01" + public.public_bytes_raw()).digest()[:4]
    assert base64.b64decode(signature)[:4] == named
    public.verify(base64.b64decode(signature)[4:], f"{origin}\n{size}\n{root}\n".encode())
    shown = json.loads(saved["inclusion"])
    assert shown["hashes"] == [hash_.hex() for hash_ in audit_path(1, entries)]
    shown = json.loads(saved["growth"])
    assert shown["hashes"] == [hash_.hex() for hash_ in subproof(3, entries, True)]

    # By the command.
    trust = ["--public-key", str(files["key"]), "--checkpoint", str(files["new"])]
    for arguments in [
        [str(files["all"])],
        [str(files["receipt"]), "--inclusion", str(files["inclusion"])],
        ["--old-checkpoint", str(files["old"]), "--consistency", str(files["growth"])],
    ]:
        assert main(["verify-receipts", *arguments, *trust]) == 0, capsys.readouterr().out
    assert verify(service, receipts[-1])["tree_ok"] is True


def test_sizes_that_are_not_there_are_refused_with_those_that_are(shared):
    receipts = deletions(shared, 2)

    for path in [
        f"/{receipts[1]['id']}/inclusion?size=1",
        f"/{receipts[1]['id']}/inclusion?size=3",
        "/consistency?first=2&second=1",
        "/consistency?first=3",
        "/consistency?first=0&second=3",
    ]:
        found = problem(shared.client.get(f"/v1/receipts{path}"), 422, "bad_tree_size")
        assert "2" in found["detail"].split(": ")[1]
    problem(shared.client.get("/v1/receipts/rcpt_none/inclusion"), 404, "receipt_not_found")
    for path in ["/consistency", "/consistency?first=-1", "/consistency?first=9999999999"]:
        assert shared.client.get(f"/v1/receipts{path}").status_code == 422
    found = problem(shared.client.get("/v1/receipts/checkpoint"), 404, "receipts_not_signed")
    assert "TANGENT_RECEIPT_KEY_FILE" in found["detail"]


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty database of either kind."""
    url = request.getfixturevalue("empty_postgres") if request.param == "postgres" else None
    return Settings(data_dir=tmp_path / "data", database_url=url, api_key=None)


def test_a_ledger_of_before_there_was_a_tree_gets_one(settings):
    migrate.upgrade(settings)
    engine = open_engine(settings)
    sessions = session_factory(engine)
    for number in range(1, 14):
        with transaction(sessions) as session:
            ledger.append(session, receipt_id=f"rcpt_{number}", body={"version": 2})
    with transaction(sessions) as session:
        entries = tuple(row.hash.encode() for row in ledger.list_(session, after=None, limit=99))
        assert tree.root(session, 13) == tree_hash(entries)

    migrate.downgrade(settings, "2026_11_28_remade_spaces")
    migrate.upgrade(settings)

    with transaction(sessions) as session:
        assert tree.size_of(session) == 13
        assert tree.is_sound(session)
        assert tree.root(session, 13) == tree_hash(entries)
        assert tree.root(session, 6) == tree_hash(entries[:6])
        ledger.append(session, receipt_id="rcpt_more", body={"version": 2})
        assert tree.is_sound(session)
    engine.dispose()


def test_receipts_that_an_older_process_appended_are_in_the_tree_after_the_next_one(settings):
    migrate.upgrade(settings)
    engine = open_engine(settings)
    with transaction(session_factory(engine)) as session:
        ledger.append(session, receipt_id="rcpt_1", body={})
        session.execute(text("DELETE FROM receipt_node"))
        assert not tree.is_sound(session)

        ledger.append(session, receipt_id="rcpt_2", body={})

        assert tree.is_sound(session) and tree.size_of(session) == 2
    engine.dispose()


DAMAGES = {
    "another hash": "UPDATE receipt_node SET hash = 'ab' || substr(hash, 3) WHERE level = 1",
    "no hash": "UPDATE receipt_node SET hash = 'x' WHERE level = 2",
    "no node": "DELETE FROM receipt_node WHERE level = 2",
    "no last leaf": 'DELETE FROM receipt_node WHERE level = 0 AND "index" = 3',
    "another receipt": "UPDATE receipt SET hash = 'ab' || substr(hash, 3) WHERE number = 2",
    "a leaf too many": "INSERT INTO receipt_node (level, \"index\", hash) VALUES (0, 4, 'ab')",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_tree_is_found_and_keeps_nobody_from_deleting(tmp_path, damage):
    settings = Settings(data_dir=tmp_path / "data", api_key=None)
    migrate.upgrade(settings)
    engine = open_engine(settings)
    with transaction(session_factory(engine)) as session:
        for number in range(4):
            ledger.append(session, receipt_id=f"rcpt_{number}", body={})
        assert tree.is_sound(session)
        session.execute(text(damage))
        session.expire_all()

        assert not tree.is_sound(session)
        ledger.append(session, receipt_id="rcpt_more", body={})

        assert session.get(Receipt, 5) is not None
    engine.dispose()
