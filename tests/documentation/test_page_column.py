"""Whoever follows the tutorial's column for the page ends with a verified receipt too."""

from pathlib import Path

from playwright.sync_api import expect

from documentation import screenshots
from tangent_composer import Client
from tests.support.browser import chromium
from tests.support.pages import DOCS

STOPS = ("start", "upload", "component", "compose", "unlearn", "receipt")


def test_the_column_for_the_page_leads_to_a_verified_receipt(tmp_path: Path):
    stops = []
    with chromium() as browser, screenshots.served(tmp_path) as url:
        page = browser.new_page()
        screenshots.follow(page, url, tmp_path, stops.append)
        expect(page.get_by_role("heading", name="Receipt 1")).to_be_visible()
        with Client(url, progress=False) as client:
            (receipt,) = client.receipts.each()
            assert client.receipts.verify_offline(receipt.id).ok
            assert [each.labels for each in client.components.each()] == [["2", "3"]]
    assert tuple(stops) == STOPS


def test_the_tutorial_shows_pictures_that_are_taken():
    text = (DOCS / "tutorial.md").read_text()
    shown = {part.split(" ")[0] for part in text.split("<!-- picture: ")[1:]}
    assert shown and shown <= set(STOPS)
