"""The whole story at the start of the page: one click, from uploads to a checked receipt."""

import re

from playwright.sync_api import Page, expect

from tests.support.accessibility import grave_faults
from tests.support.served import Served


def test_an_empty_service_tells_the_whole_story_in_one_click(
    signed_in: Page, guarded: Served
) -> None:
    page = signed_in
    page.get_by_role("button", name="Show the story on sample data").click()
    expect(page.get_by_text("By hand: compose")).to_be_visible(timeout=120_000)
    for party in ("digits 0-1", "digits 2-3", "digits 4-5", "digits 6-7", "digits 8-9"):
        expect(page.get_by_role("listitem").filter(has_text=party).first).to_be_visible()
    expect(page.get_by_text("The answer is 4")).to_be_visible()
    expect(page.get_by_text("“digits 4-5” is deleted")).to_be_visible()
    expect(page.get_by_text("The chain of receipts is whole.")).to_be_visible()
    names = [each["name"] for each in guarded.client.get("v1/datasets").json()["data"]]
    assert "digits 4-5" not in names
    assert len(names) == 5
    receipt = guarded.client.get("v1/receipts/head").json()["id"]
    link = page.get_by_role("link", name="Read the receipt and check it in your browser")
    assert (link.get_attribute("href") or "").endswith(receipt)
    assert grave_faults(page) == []


def test_after_the_story_the_start_says_what_is_there(signed_in: Page, guarded: Served) -> None:
    page, known = signed_in, guarded.client.get("v1/components?status=ready&limit=100").json()
    if not known["data"]:
        guarded.component({"cat": 6, "dog": 6})
        page.reload()
    expect(page.get_by_role("heading", name="What is here")).to_be_visible()
    ready = len(guarded.client.get("v1/components?status=ready&limit=100").json()["data"])
    link = page.get_by_role("link", name=re.compile(f"^{ready} ready components?$"))
    expect(link).to_be_visible()
    receipts = guarded.client.get("v1/receipts/head").json()["number"]
    expect(page.get_by_role("link", name=re.compile(f"^{receipts} receipts?"))).to_be_visible()
    link.click()
    expect(page.get_by_role("table", name="components").get_by_role("row")).to_have_count(ready + 1)
