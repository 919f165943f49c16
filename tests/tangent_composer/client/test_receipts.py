"""Receipts checked on the user's machine: what a changed ledger cannot hide."""

import pytest

from tangent_composer.client import ledgers
from tests.support.images import archive
from tests.support.signing_keys import key_file


@pytest.fixture(scope="module")
def signed(tmp_path_factory, migrated):
    """A service that signs, with three deletions behind it."""
    import shutil

    from app.settings import Settings
    from tangent_composer import Client
    from tests.support.service import KEY_FREE, running

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


def test_where_nothing_is_signed_hashes_and_chain_are_checked(client):
    receipt = client.unlearn(client.datasets.upload(archive({"cow": 2})).id)
    for found in (client.receipts.verify_offline(), client.receipts.verify_offline(receipt.id)):
        assert (found.ok, found.signed, found.origin) == (True, 0, None)
