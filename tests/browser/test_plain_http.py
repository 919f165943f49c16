"""Over plain http from another machine browsers offer no cryptography, and the page says so."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import ARGUMENTS, PROGRAMS
from tests.support.images import image
from tests.support.served import Served, served
from tests.support.signing_keys import key_file

HOST = "service.test"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that answers to a name that is not this machine's, with one receipt."""
    folder = tmp_path_factory.mktemp("named")
    key = str(key_file(folder / "key.pem"))
    names = f"{HOST},127.0.0.1"
    with served(folder / "data", key=None, allowed_hosts=names, receipt_key_file=key) as started:
        started.client.delete(f"v1/datasets/{started.dataset({'cat': 4})}")
        started.dataset({"dog": 4})
        yield started


@pytest.fixture
def far(browser: Browser) -> Iterator[Page]:
    """A page of a browser to which that name is another machine."""
    program = next(filter(None, map(shutil.which, PROGRAMS)))
    rules = f"--host-resolver-rules=MAP {HOST} 127.0.0.1"
    other = browser.browser_type.launch(executable_path=program, args=[*ARGUMENTS, rules])
    yield other.new_page()
    other.close()


def test_a_receipt_is_shown_and_none_of_its_checks_is_called_passed(
    far: Page, service: Served
) -> None:
    receipt = service.client.get("v1/receipts").json()["data"][0]
    far.goto(service.url.replace("127.0.0.1", HOST) + f"#/receipts/{receipt['id']}")

    expect(far.get_by_text("Not verified.")).to_be_visible()
    assert far.evaluate("isSecureContext") is False
    expect(far.get_by_text("browsers offer no cryptography (crypto.subtle)").first).to_be_visible()
    expect(far.get_by_text("✓ passed")).to_have_count(0)
    expect(far.get_by_text("tangent verify-receipts")).to_be_visible()


def test_an_image_is_found_although_the_browser_cannot_hash_it(
    far: Page, service: Served, tmp_path: Path
) -> None:
    dog = tmp_path / "dog.png"
    dog.write_bytes(image("dog", 1))
    far.goto(service.url.replace("127.0.0.1", HOST) + "#/unlearn")
    far.get_by_label("Image", exact=True).set_input_files(dog)

    expect(far.get_by_text("The same bytes.")).to_be_visible()
    expect(far.get_by_text("This browser did not compute the file's hash")).to_be_visible()
