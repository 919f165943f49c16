"""Receipts are verified by the browser, which refuses what was tampered with."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support import ledgers
from tests.support.accessibility import grave_faults
from tests.support.browser import sign_in
from tests.support.ledgers import OTHER, ledger
from tests.support.saved_receipts import BODY, ENTRIES, RECEIPTS, SAVED, SIZE, pem
from tests.support.served import Served, served
from tests.support.service import Service
from tests.support.signing_keys import key_file

NO_CRYPTOGRAPHY = """
Object.defineProperty(Crypto.prototype, "subtle", { get: () => undefined });
"""
NO_ED25519 = """
SubtleCrypto.prototype.importKey = async () => {
  throw new DOMException("no such algorithm", "NotSupportedError");
};
"""
HALF_A_CHARACTER = json.dumps(SAVED).replace("img_1", "\\ud800")
OTHERS = ledger(None, *[OTHER] * (SIZE - 1), body=BODY)
FORGED = {
    "receipt": OTHERS[4],
    "inclusion": ledgers.inclusion(tuple(each["hash"].encode() for each in OTHERS), 4),
    "checkpoint": ledgers.note(tuple(each["hash"].encode() for each in OTHERS), SIZE, OTHER),
    "public_keys": [pem(OTHER)],
}


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that signs its receipts, of which it has three."""
    folder = tmp_path_factory.mktemp("signing")
    key = str(key_file(folder / "key.pem"))
    with served(folder / "data", key=None, receipt_key_file=key) as started:
        for label in ("cat", "dog", "emu"):
            dataset = started.dataset({label: 4}, name=label)
            assert started.client.delete(f"v1/datasets/{dataset}").status_code == 200
        yield started


@pytest.fixture
def receipts(signing: Served) -> list[dict[str, Any]]:
    return list(signing.client.get("v1/receipts").json()["data"])


@pytest.fixture
def drop(tmp_path: Path, signing: Served) -> Callable[[Page, Any], None]:
    """Give a page a saved file."""

    def made(page: Page, saved: Any) -> None:
        file = tmp_path / "saved.json"
        file.write_text(saved if isinstance(saved, str) else json.dumps(saved))
        page.goto(f"{signing.url}#/receipts/verify")
        page.get_by_label("A saved receipt").set_input_files(file)

    return made


def opened(page: Page, signing: Served, receipt: dict[str, Any]) -> None:
    page.goto(f"{signing.url}#/receipts/{receipt['id']}")
    expect(page.get_by_role("heading", name=f"Receipt {receipt['number']}")).to_be_visible()
    expect(page.get_by_role("heading", name="Content")).to_be_visible()


def test_a_receipt_is_shown_in_words_with_every_hash(page: Page, signing: Served, receipts) -> None:
    opened(page, signing, receipts[1])

    expect(page.get_by_text("Verified.")).to_be_visible()
    expect(page.get_by_text("receipts up to this one follow from each other")).to_be_visible()
    for line in receipts[1]["body"]["not_covered"]:
        expect(page.get_by_text(line, exact=True)).to_be_visible()
    assert page.get_by_text(receipts[1]["hash"]).count() >= 2
    page.get_by_text("JSON", exact=True).click()
    assert json.loads(page.locator("details pre").inner_text()) == receipts[1]
    page.get_by_role("button", name="Look for what is left").click()
    expect(page.get_by_text("Nothing is left.")).to_be_visible()
    assert grave_faults(page) == []


def test_the_list_checks_the_whole_ledger(page: Page, signing: Served, receipts) -> None:
    page.goto(f"{signing.url}#/receipts")
    table = page.get_by_role("table", name="Receipts")
    expect(table.get_by_role("row")).to_have_count(len(receipts) + 1)
    page.get_by_role("button", name="Check the whole ledger").click()
    expect(page.get_by_text("They make the root that the service signed.")).to_be_visible()
    expect(page.get_by_text(receipts[-1]["hash"])).to_be_visible()
    page.get_by_role("link", name="receipt 3").click()
    expect(page.get_by_role("heading", name="Receipt 3")).to_be_visible()
    assert grave_faults(page) == []


def test_the_first_key_is_taken_on_trust_and_another_one_is_an_alarm(
    page: Page, signing: Served, receipts
) -> None:
    opened(page, signing, receipts[0])
    expect(page.get_by_text("sees the key for the first time")).to_be_visible()
    page.reload()
    expect(page.get_by_text("saw the same key first on")).to_be_visible()
    page.get_by_role("button", name="I have compared it").click()
    expect(page.get_by_text("You compared this key on")).to_be_visible()

    page.evaluate("""() => {
      const [name, text] = Object.entries(localStorage)[0];
      localStorage.setItem(name, text.replace(/"id":"[0-9a-f]{64}"/, `"id":"${"0".repeat(64)}"`));
    }""")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("Alarm: this is another key")
    expect(page.get_by_text("Verified.")).to_be_hidden()


@pytest.mark.parametrize(
    ("size", "root", "message"),
    [(9, "0" * 64, "The ledger was cut"), (2, "0" * 64, "The ledger was rewritten")],
)
def test_a_ledger_that_does_not_continue_the_one_that_was_seen_is_an_alarm(
    page: Page, signing: Served, receipts, size: int, root: str, message: str
) -> None:
    opened(page, signing, receipts[0])
    expect(page.get_by_text("Verified.")).to_be_visible()
    page.evaluate(
        """([size, root]) => {
      const [name, text] = Object.entries(localStorage)[0];
      const all = JSON.parse(text);
      for (const seen of Object.values(all)) Object.assign(seen.tree, { size, root });
      localStorage.setItem(name, JSON.stringify(all));
    }""",
        [size, root],
    )
    page.reload()

    expect(page.get_by_role("alert")).to_contain_text(message)
    expect(page.get_by_text("Refused")).to_be_visible()
    page.get_by_role("button", name="Forget what this browser saw before").click()
    expect(page.get_by_text("Verified.")).to_be_visible()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"receipt": RECEIPTS[4] | {"body": BODY | {"n": 1}}}, "is not what its hash was taken of"),
        ({"receipt": RECEIPTS[4] | {"signature": "0" * 128}}, "signature that is not by its key"),
        ({"inclusion": ledgers.inclusion(ENTRIES, 4) | {"hashes": []}}, "is not in the ledger"),
        ({"checkpoint": ledgers.note(ENTRIES, SIZE, OTHER)}, "none of the given keys has signed"),
        ({"checkpoint": SAVED["checkpoint"].replace("11", "12")}, "not by the key that it names"),
        ({"public_keys": [pem(OTHER)]}, "signed by a key that was not given"),
    ],
)
def test_a_tampered_file_is_refused_with_the_check_that_failed(
    page: Page, drop, changes: dict[str, Any], message: str
) -> None:
    drop(page, SAVED | copy.deepcopy(changes))

    expect(page.get_by_role("alert")).to_contain_text(message)
    expect(page.get_by_role("alert")).to_contain_text("Refused")
    expect(page.get_by_text("✗ failed").first).to_be_visible()


def test_a_file_in_which_all_was_forged_anew_is_sound_but_by_an_unknown_key(
    page: Page, signing: Served, receipts, drop
) -> None:
    opened(page, signing, receipts[0])
    expect(page.get_by_text("Verified.")).to_be_visible()

    drop(page, SAVED | FORGED)

    expect(page.get_by_text("Sound, but by an unknown key.")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Alarm: this is another key")


@pytest.mark.parametrize("text", ["", "[1,", '{"format": 1}', "\ufeff{}", "null", HALF_A_CHARACTER])
def test_a_file_that_is_no_receipt_is_refused_in_words(page: Page, drop, text: str) -> None:
    drop(page, text)

    expect(page.get_by_role("alert")).to_contain_text("This file cannot be verified")


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (NO_CRYPTOGRAPHY, "browsers offer no cryptography (crypto.subtle)"),
        (NO_ED25519, "has no Ed25519"),
    ],
)
def test_checks_that_the_browser_cannot_make_are_not_called_passed(
    page: Page, signing: Served, receipts, spoilt: str, reason: str
) -> None:
    page.add_init_script(spoilt)
    opened(page, signing, receipts[0])

    expect(page.get_by_text("Not verified.")).to_be_visible()
    expect(page.get_by_text(reason).first).to_be_visible()
    signature = page.get_by_role("heading", name="Signature")
    expect(signature).to_contain_text("not run")
    expect(page.get_by_role("heading", name="Place in the ledger")).to_contain_text("not run")
    expect(page.get_by_text("tangent verify-receipts")).to_contain_text("--fingerprint")


def test_a_reader_recognises_the_image_and_the_label_that_were_deleted(
    page: Page, signing: Served, receipts
) -> None:
    opened(page, signing, receipts[2])
    page.get_by_text("Is it about my data?").click()
    page.get_by_label("Label", exact=True).fill("yak")
    page.get_by_role("button", name="Look for it").click()
    expect(page.get_by_text("The label yak is not in this receipt.")).to_be_visible()


def test_unsigned_receipts_are_said_to_be_unsigned(
    new_page: Callable[..., Page], plain: Service, watch
) -> None:
    component = plain.component({"cat": 6, "dog": 6})
    receipt = plain.client.delete(f"/v1/components/{component}").json()
    page = new_page(width=360)
    page.goto(f"{plain.url}/#/receipts/{receipt['id']}")

    expect(page.get_by_text("Not signed.", exact=True)).to_be_visible()
    for name, state in (("Content", "passed"), ("Chain", "passed"), ("Checkpoint", "not run")):
        expect(page.get_by_role("heading", name=name)).to_contain_text(state)
    assert grave_faults(page) == []
    page.get_by_text("Is it about my data?").click()
    page.get_by_label("Label", exact=True).fill("cat")
    page.get_by_role("button", name="Look for it").click()
    expect(page.get_by_text("The label cat is in this receipt")).to_be_visible()
    page.goto(f"{plain.url}/#/receipts")
    page.get_by_role("button", name="Check the whole ledger").click()
    expect(page.get_by_text("This service signs no receipts")).to_be_visible()


def test_there_are_no_receipts_before_the_first_deletion(page: Page, guarded: Served) -> None:
    assert guarded.key is not None
    sign_in(page, guarded.url, guarded.key)
    page.goto(f"{guarded.url}#/receipts")

    expect(page.get_by_text("Nothing was deleted yet")).to_be_visible()
    page.goto(f"{guarded.url}#/receipts/verify")
    expect(page.get_by_role("heading", name="Verify a saved file")).to_be_visible()
    assert grave_faults(page) == []
