"""Receipts checked on the user's machine: what a changed ledger cannot hide."""

import shutil

import pytest

from app.settings import Settings
from tangent_composer import Client
from tangent_composer.client import errors, ledgers
from tests.support.images import archive
from tests.support.service import KEY_FREE, running
from tests.support.signing_keys import key_file


@pytest.fixture(scope="module")
def signed(tmp_path_factory, migrated):
    """A service that signs, with three deletions behind it."""
    folder = tmp_path_factory.mktemp("signed")
    shutil.copytree(migrated, folder / "data")
    given = KEY_FREE | {"data_dir": folder / "data", "scope": "head", "threads": 1}
    settings = Settings(**given, receipt_key_file=key_file(folder / "key.pem"))
    with running(settings) as service, Client(service.url, progress=False) as client:
        for n in range(3):
            client.unlearn(client.datasets.upload(archive({"cat": 2}, start=10 * n)).id)
        yield client


def test_a_signed_ledger_holds_and_so_does_each_receipt(signed):
    whole = signed.receipts.verify_offline()
    assert (whole.ok, whole.signed, len(whole.receipts)) == (True, 3, 3)
    one = signed.receipts.verify_offline(whole.receipts[1].id)
    assert (one.ok, one.signed, one.origin) == (True, 1, whole.origin)
    noted = whole.receipts[0].hash
    assert signed.receipts.verify_offline(head=noted).ok
    assert not signed.receipts.verify_offline(head="0" * 63 + "1").ok


def test_keys_that_were_noted_are_used_in_place_of_the_services_own(signed, tmp_path):
    own = signed.receipts.key().public_key
    assert signed.receipts.verify_offline(public_keys=[own]).ok
    from app.receipts.signing import signer

    other = signer(key_file(tmp_path / "other.pem", seed=2)).public_key
    found = signed.receipts.verify_offline(public_keys=[other])
    assert not found.ok
    assert any("signed by a key that was not given" in fault for fault in found.faults)


@pytest.mark.parametrize("change", ["body", "created_at", "signature"])
def test_a_receipt_that_was_changed_is_found(signed, change):
    receipts = list(signed.receipts.each())
    keys = ledgers.keys_of([signed.receipts.key().public_key])
    note = signed.receipts.checkpoint()
    values = {
        "body": receipts[1].body | {"epoch": 9},
        "created_at": receipts[0].created_at,
        "signature": receipts[0].signature,
    }
    changed = receipts[1].model_copy(update={change: values[change]})

    found = ledgers.check_ledger([receipts[0], changed, receipts[2]], keys, note, None)
    alone = ledgers.check_receipt(
        changed, signed.receipts.inclusion(changed.id), keys, signed.receipts.checkpoint()
    )

    assert not found.ok and not alone.ok
    assert all(changed.id in fault for fault in (*found.faults[:1], *alone.faults))


def test_a_receipt_that_was_left_out_is_found(signed):
    receipts = list(signed.receipts.each())
    keys = ledgers.keys_of([signed.receipts.key().public_key])
    found = ledgers.check_ledger(receipts[:2], keys, signed.receipts.checkpoint(), None)
    assert any("is over 3 receipts, and 2 are given" in fault for fault in found.faults)


def test_receipts_hold_after_the_key_was_changed_and_where_nothing_is_signed_any_more(
    tmp_path, migrated
):
    folder = tmp_path / "data"
    shutil.copytree(migrated, folder)
    given, receipts = KEY_FREE | {"data_dir": folder, "scope": "head", "threads": 1}, []
    for seed in (1, 2, None):
        key = None if seed is None else key_file(tmp_path / f"{seed}.pem", seed=seed)
        settings = Settings(**given, receipt_key_file=key)
        with running(settings) as service, Client(service.url, progress=False) as client:
            for receipt in receipts:  # with the key of this start, before it has signed one
                assert client.receipts.verify_offline(receipt).ok
            assert client.receipts.verify_offline().ok
            made = client.datasets.upload(archive({"cat": 2}, start=10 * (seed or 3))).id
            receipts.append(client.unlearn(made).id)
            assert client.receipts.verify_offline().ok == (seed is not None)  # one is unsigned


def test_a_head_that_was_noted_before_the_first_deletion_holds_for_good(signed, client):
    empty = client.receipts.head().hash
    assert client.receipts.verify_offline(head=empty).ok
    noted = [signed.receipts.key().public_key]
    assert client.receipts.verify_offline(public_keys=noted).ok
    assert signed.receipts.verify_offline(head=empty).ok


def test_where_nothing_is_signed_hashes_and_chain_are_checked(client):
    receipt = client.unlearn(client.datasets.upload(archive({"cow": 2})).id)
    for found in (client.receipts.verify_offline(), client.receipts.verify_offline(receipt.id)):
        assert (found.ok, found.signed, found.origin) == (True, 0, None)


def test_the_receipt_of_a_space_is_found_where_its_answer_was_lost(client, monkeypatch):
    client.spaces.create("brief", "resnet_micro_32", scope="head")
    transport = client.spaces._transport
    unlearn = transport.unlearn

    def lost(path: str, **query: bool) -> None:
        unlearn(path, **query)
        error = errors.NotFound(404, {})
        error.may_be_done = True
        raise error

    monkeypatch.setattr(transport, "unlearn", lost)
    receipt = client.spaces.unlearn("brief")
    assert receipt.body["subject"] == {"kind": "space", "id": "brief"}
    assert client.receipts.head().id == receipt.id
