"""Data is found by its looks and its bytes, and what cannot be looked into is said."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.browser import Watch, sign_in
from tests.support.images import image
from tests.support.served import Served
from tests.support.workers import until


@pytest.fixture
def open_page(page: Page, signing: Served) -> Page:
    assert signing.key is not None
    sign_in(page, signing.url, signing.key)
    return page


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def test_chosen_images_of_two_datasets_go_with_a_receipt_each(
    open_page: Page, signing: Served, tmp_path: Path, watch: Watch
) -> None:
    page = open_page
    watch.expect("status of 410")  # of a thumbnail that is on its way when its image goes
    datasets = [signing.dataset({"eel": 6}, name=name) for name in ("first lake", "second lake")]
    eel = tmp_path / "eel.png"
    eel.write_bytes(image("eel", 2))
    page.goto(f"{signing.url}#/unlearn")
    page.get_by_label("Image", exact=True).set_input_files(eel)
    expect(page.get_by_text("The same bytes.")).to_have_count(2)
    for each in page.get_by_role("listitem").filter(has_text="The same bytes.").all():
        each.get_by_role("checkbox").check()
    page.get_by_role("link", name="Preview the deletion of 2 images").click()
    for name in ("first lake", "second lake"):
        expect(page.get_by_role("heading", name=f"From dataset {name}")).to_be_visible()
    expect(page.get_by_text("These datasets keep the images")).to_have_count(2)
    page.get_by_role("button", name="Delete 2 images").click()
    dialog(page).get_by_role("button", name="Delete 2 images").click()
    expect(page.get_by_role("link", name="Read and verify receipt")).to_have_count(2)
    page.get_by_role("link", name="Find more").click()
    expect(page.get_by_text("No dataset holds these bytes.")).to_be_visible()
    for dataset in datasets:
        assert signing.client.get(f"v1/datasets/{dataset}").json()["num_images"] == 5


def test_several_images_of_a_dataset_are_chosen_from_a_list(
    open_page: Page, signing: Served, watch: Watch
) -> None:
    page = open_page
    watch.expect("status of 410")  # of a thumbnail that is on its way when its image goes
    dataset = signing.dataset({"cod": 5}, name="sea")
    page.goto(f"{signing.url}#/unlearn/datasets/{dataset}/images")
    page.get_by_role("checkbox").nth(0).check()
    page.get_by_role("checkbox").nth(3).check()
    page.get_by_role("link", name="Preview the deletion of 2 images").click()
    page.get_by_role("button", name="Delete 2 images").click()
    dialog(page).get_by_role("button", name="Delete 2 images").click()
    page.get_by_role("link", name="Read and verify receipt").click()
    expect(page.get_by_text("Several images of dataset").first).to_be_visible()
    expect(page.get_by_text("Verified.")).to_be_visible()


def test_an_imported_component_is_said_to_be_one_that_cannot_be_looked_into(
    open_page: Page, signing: Served, tmp_path: Path
) -> None:
    page = open_page
    component = signing.component({"elk": 6, "gnu": 6}, name="herd")
    delta = signing.client.get(f"v1/components/{component}/delta").content
    files = {"file": ("herd.safetensors", delta, "application/octet-stream")}
    fields = {"name": "a guest", "allow_duplicate": "true"}
    guest = signing.client.post("v1/components/import", files=files, data=fields)
    assert guest.status_code == 201, guest.text
    elk = tmp_path / "elk.png"
    elk.write_bytes(image("elk", 1))
    page.goto(f"{signing.url}#/unlearn")
    page.get_by_label("Image", exact=True).set_input_files(elk)
    expect(page.get_by_role("heading", name="What cannot be looked into")).to_be_visible()
    expect(page.get_by_role("link", name="a guest")).to_be_visible()
    page.goto(f"{signing.url}#/unlearn/components/{component}")
    expect(page.get_by_text("Components with the same file stay")).to_contain_text("a guest")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("columnheader", name="Afterwards")).to_be_visible()


def test_bytes_are_found_by_their_hash_alone(open_page: Page, signing: Served) -> None:
    page = open_page
    dataset = signing.dataset({"ram": 4}, name="hill")
    images = signing.client.get(f"v1/datasets/{dataset}/images").json()["data"]
    page.goto(f"{signing.url}#/unlearn")
    page.get_by_label("Or its SHA-256").fill(images[0]["sha256"].upper())
    page.get_by_role("button", name="Look for these bytes").click()
    expect(page.get_by_text(images[0]["path"])).to_be_visible()
    expect(page.get_by_role("heading", name="Looks like it")).to_be_hidden()


def test_a_file_that_is_no_image_is_refused_in_words(
    open_page: Page, signing: Served, watch: Watch, tmp_path: Path
) -> None:
    page = open_page
    text = tmp_path / "note.png"
    text.write_text("no image")
    watch.expect("status of 4(00|15|22)")
    page.goto(f"{signing.url}#/unlearn")
    page.get_by_label("Image", exact=True).set_input_files(text)
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_text("SHA-256, computed by this browser")).to_be_visible()


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_the_window(
    new_page: Callable[..., Page], signing: Served, width: int
) -> None:
    assert signing.key is not None
    page = new_page(width=width, color_scheme="dark")
    sign_in(page, signing.url, signing.key)
    component = signing.component({"m" * 120: 6, "gnat": 6}, start=50, name="n" * 120)
    dataset = signing.client.get(f"v1/components/{component}").json()["dataset_id"]
    images = signing.client.get(f"v1/datasets/{dataset}/images").json()["data"]
    first = images[0]["id"]
    receipt = signing.client.delete(f"v1/datasets/{dataset}/images/{first}").json()["id"]
    until(lambda: signing.client.get(f"v1/components/{component}").json()["status"] == "ready")
    for place, text in (
        (f"unlearn/components/{component}", "is removed, with its file"),
        (f"unlearn/datasets/{dataset}", "is removed, with its file"),
        (f"unlearn/datasets/{dataset}/images", "Choose images"),
        (f"receipts/{receipt}", "Verified."),
        ("receipts", "What was done"),
    ):
        page.goto(f"{signing.url}#/{place}")
        expect(page.get_by_text(text).first).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, (place, wide)


def test_what_was_deleted_before_a_refusal_is_told_with_its_receipt(
    open_page: Page, signing: Served, watch: Watch
) -> None:
    page = open_page
    first, second = (signing.dataset({"yak": 3}, name=name) for name in ("one", "two"))
    of = [
        f"{dataset}/{signing.client.get(f'v1/datasets/{dataset}/images').json()['data'][0]['id']}"
        for dataset in (first, second)
    ]
    page.goto(f"{signing.url}#/unlearn/images?of={','.join(of)}")
    expect(page.get_by_text("No component was trained from it.")).to_have_count(2)
    signing.client.delete(f"v1/datasets/{second}")
    watch.expect("status of 410")
    page.get_by_role("button", name="Delete 2 images").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete 2 images").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("was deleted")
    page.keyboard.press("Escape")
    expect(page.get_by_text("This is deleted already:")).to_be_visible()
    expect(page.get_by_role("link", name="Read and verify receipt")).to_be_visible()
