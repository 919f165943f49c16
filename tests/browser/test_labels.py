"""Doubtful labels in the page: found, shown with their images, changed, and removed."""

import io
import re
import zipfile

import pytest
from playwright.sync_api import Page, expect

from tests.support.images import image
from tests.support.service import Service


@pytest.fixture(scope="module")
def dataset(plain: Service) -> str:
    """A dataset that a component was trained from; two of its twenty-two dogs are cats."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for number in range(20):
            packed.writestr(f"cat/{number:02d}.png", image("cat", number))
            packed.writestr(f"dog/{number:02d}.png", image("dog", number))
        for number in (20, 21):
            packed.writestr(f"dog/{number:02d}.png", image("cat", number))
    files = {"file": ("pets.zip", file.getvalue(), "application/zip")}
    made = plain.client.post("/v1/datasets", files=files).json()["id"]
    plain.train(plain.queued(made))
    return made


def disputed(service: Service, dataset: str) -> int:
    """Return how many labels the rest disputes."""
    return service.client.get(f"/v1/datasets/{dataset}/label-report").json()["num_disputed"]


def test_a_wrong_label_is_found_and_changed_with_what_that_changes_told_before(
    page: Page, plain: Service, dataset: str
) -> None:
    before = disputed(plain, dataset)
    assert before >= 2
    page.goto(f"{plain.url}/#/datasets/{dataset}?tab=doubts")
    page.get_by_role("button", name="Find doubtful labels").click()
    expect(page.get_by_text(f"{before} labels of 42 are disputed.")).to_be_visible()
    card = page.get_by_role("listitem").filter(has_text="dog, but the others say cat").first
    card.get_by_role("button", name="Relabel …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("New label")).to_have_value("cat")
    expect(dialog.get_by_text("it is updated at once")).to_be_visible()
    dialog.get_by_role("button", name="Change the label").click()
    expect(page.get_by_text("The label is changed")).to_be_visible()
    expect(dialog.get_by_role("link", name="Read the receipt")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    after = disputed(plain, dataset)
    assert after < before
    expect(page.get_by_text(re.compile(f"^{after} labels? of 42"))).to_be_visible()
    assert plain.client.get(f"/v1/datasets/{dataset}").json()["labels"] == {"cat": 21, "dog": 21}


def test_an_image_is_looked_at_and_leads_to_its_removal(
    page: Page, plain: Service, dataset: str
) -> None:
    page.goto(f"{plain.url}/#/datasets/{dataset}?tab=images")
    page.get_by_label("Label").select_option("dog")
    count = plain.client.get(f"/v1/datasets/{dataset}").json()["labels"]["dog"]
    expect(page.get_by_text(f"{count} images", exact=True)).to_be_visible()
    page.get_by_role("list", name="images").get_by_role("button").last.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("32 × 32 pixels")).to_be_visible()
    link = dialog.get_by_role("link", name="Remove it …").get_attribute("href") or ""
    images = plain.client.get(f"/v1/datasets/{dataset}/images?label=dog&limit=100").json()["data"]
    prefix = f"#/unlearn/datasets/{dataset}/images/"
    assert link.removeprefix(prefix) in [each["id"] for each in images]
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
