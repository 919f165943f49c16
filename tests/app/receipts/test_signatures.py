"""Signed receipts: written while there is a key, and checked for good, also under a newer key."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from app.database import migrate
from app.database.sessions import transaction
from app.main import create_app
from app.receipts import signing as seals
from app.settings import BadSettings, Settings
from tangent_composer.receipts import signatures
from tangent_composer.receipts.offline import check, read
from tests.support.client import delete, verify
from tests.support.problems import problem
from tests.support.service import KEY_FREE, Service, running
from tests.support.signing_keys import key_file

Serve = Callable[..., Service]
ROOT = Path(__file__).resolve().parents[3]


def deletion(service: Service, component_id: str | None = None) -> dict:
    """Delete a component, or a new one; return the receipt."""
    component_id = component_id or service.queued(service.dataset({"cat": 2}))
    return delete(service, f"components/{component_id}")


@pytest.fixture(params=["sqlite", "postgres"])
def signing(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Service:
    """A service with a key, on each kind of database."""
    settings = {"receipt_key_file": key_file(tmp_path / "key.pem")}
    if request.param == "postgres":
        settings["database_url"] = request.getfixturevalue("postgres")
    return serve(**settings)


def test_a_receipt_is_signed_by_the_key_that_the_service_shows(signing):
    shown = signing.client.get("/v1/receipts/key").json()
    receipt = deletion(signing)

    public = signatures.public_key(shown["public_key"])
    assert receipt["key_id"] == shown["key_id"] == signatures.key_id_of(public)
    public.verify(
        bytes.fromhex(receipt["signature"]), f"tangent-composer receipt {receipt['hash']}".encode()
    )
    assert signing.client.get(f"/v1/receipts/{receipt['id']}").json() == receipt
    found = verify(signing, receipt)
    assert (found["ok"], found["signature_ok"]) == (True, True)
    saved = signing.client.get("/v1/receipts").text
    assert check(read([("page", saved)]), {shown["key_id"]: public}, head=receipt["hash"]) == []


CHANGES = {
    "another signature": "UPDATE receipt SET signature = 'ab' || substr(signature, 3)",
    "no signature": "UPDATE receipt SET signature = NULL",
    "no signer": "UPDATE receipt SET key_id = NULL",
    "nothing of it": "UPDATE receipt SET key_id = NULL, signature = NULL",
    "another signer": "UPDATE receipt SET key_id = 'ab'",
    "another hash": "UPDATE receipt SET hash = 'ab'",
    "no key": "DELETE FROM receipt_key",
    "no such key": "UPDATE receipt_key SET public_key = 'x'",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_changed_of_a_signature_is_found(serve, tmp_path, change):
    service = serve(receipt_key_file=key_file(tmp_path / "key.pem"))
    receipt = deletion(service)
    with transaction(service.state.sessions) as session:
        session.execute(text(change))

    found = verify(service, receipt)

    assert not found["ok"]
    assert found["signature_ok"] is False or found["chain_ok"] is False


def test_another_key_in_the_place_of_the_kept_one_is_not_the_one_that_signed(serve, tmp_path):
    """As who can write the table would try: a key of their own under the old fingerprint."""
    service = serve(receipt_key_file=key_file(tmp_path / "key.pem"))
    receipt = deletion(service)
    theirs = seals.signer(key_file(tmp_path / "theirs.pem", seed=9))
    with transaction(service.state.sessions) as session:
        session.execute(
            text("UPDATE receipt_key SET public_key = :pem"), {"pem": theirs.public_key}
        )
        session.execute(
            text("UPDATE receipt SET signature = :made"), {"made": theirs.sign(receipt["hash"])}
        )

    assert verify(service, receipt)["signature_ok"] is False


def test_receipts_of_older_keys_and_of_none_are_checked_after_the_key_was_changed(tmp_path):
    receipts: list[dict] = []
    keys = [None, key_file(tmp_path / "1", 1), key_file(tmp_path / "2", 2), None]
    for number, key in enumerate(keys):
        settings = Settings(
            **KEY_FREE | {"data_dir": tmp_path / "data", "device": "cpu", "threads": 1},
            receipt_key_file=key,
        )
        if number == 0:
            migrate.upgrade(settings)
        with running(settings) as service:
            receipts.append(deletion(service))
            found = [verify(service, receipt) for receipt in receipts]
            asked = service.client.get("/v1/receipts/key")
            if key is None:
                problem(asked, 404, "receipts_not_signed")
            else:
                assert asked.json()["key_id"] == receipts[-1]["key_id"]
            for receipt in receipts[1:3]:
                query = {"key_id": receipt["key_id"]}
                shown = service.client.get("/v1/receipts/key", params=query).json()
                public = signatures.public_key(shown["public_key"])
                assert signatures.key_id_of(public) == shown["key_id"] == receipt["key_id"]
        assert all(each["ok"] for each in found)
        signed = [None, True, True, None][: number + 1]
        assert [each["signature_ok"] for each in found] == signed
    assert "signature" not in receipts[0] and "key_id" not in receipts[3]
    assert receipts[1]["key_id"] != receipts[2]["key_id"]


def test_without_a_key_there_is_none_to_show(shared):
    problem(shared.client.get("/v1/receipts/key"), 404, "receipts_not_signed")
    answer = shared.client.get("/v1/receipts/key?key_id=ab")
    problem(answer, 404, "receipt_key_not_found")


def test_a_key_that_cannot_be_used_ends_the_start(tmp_path):
    path = key_file(tmp_path / "key.pem")
    path.chmod(0o644)
    settings = Settings(data_dir=tmp_path, receipt_key_file=path, **KEY_FREE)

    with pytest.raises(BadSettings, match=r"TANGENT_RECEIPT_KEY_FILE is '.*key\.pem': every user"):
        create_app(settings)
