"""Data is found, its deletion previewed and done, and the proof checked without the service."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from app.cli import main
from tests.support.browser import Watch, sign_in
from tests.support.images import archive, image
from tests.support.served import Served, served
from tests.support.signing_keys import key_file

HOSTILE = "<img src=x onerror=alert(1)> \u202e'\"& {{7*7}}"


@pytest.fixture
def open_page(page: Page, signing: Served) -> Page:
    assert signing.key is not None
    sign_in(page, signing.url, signing.key)
    return page


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def steps(page: Page) -> list[str]:
    """The marks of the steps of a verification, in their order."""
    return page.get_by_role("listitem").locator("h3 .tag").all_inner_texts()


def dataset_of(service: Served, component: str) -> str:
    return str(service.client.get(f"v1/components/{component}").json()["dataset_id"])


def first_images(service: Served, dataset: str, count: int) -> list[str]:
    listed = service.client.get(f"v1/datasets/{dataset}/images", params={"limit": count}).json()
    return [each["id"] for each in listed["data"]]


def test_the_story_from_an_upload_to_a_receipt_verified_after_the_service_was_stopped(
    page: Page, watch: Watch, tmp_path: Path
) -> None:
    pets, cat = tmp_path / "pets.zip", tmp_path / "cat.png"
    pets.write_bytes(archive({"cat": 12, "dog": 12}))
    cat.write_bytes(image("cat", 3))
    key = key_file(tmp_path / "key.pem")
    with served(tmp_path / "data", receipt_key_file=str(key)) as service:
        assert service.key is not None
        sign_in(page, service.url, service.key)
        page.get_by_role("link", name="Datasets", exact=True).click()
        page.get_by_role("link", name="Upload a dataset").click()
        page.get_by_label("Choose an archive").set_input_files(pets)
        page.get_by_role("button", name="Upload", exact=True).click()
        page.get_by_role("button", name="Train a component").click()
        expect(page.get_by_text("ready", exact=True).first).to_be_visible(timeout=120_000)
        page.get_by_role("link", name="Compose", exact=True).click()
        page.get_by_role("region", name="Image").locator("input").set_input_files(cat)
        expect(page.get_by_text("cat", exact=True).first).to_be_visible()

        page.get_by_role("link", name="Unlearn", exact=True).click()
        expect(page.get_by_role("heading", name="Find my data")).to_be_visible()
        page.get_by_label("Image", exact=True).set_input_files(cat)
        expect(page.get_by_text("The same bytes.")).to_be_visible()
        expect(page.get_by_text("The service has the same.")).to_be_visible()
        page.get_by_role("link", name="Preview its deletion").first.click()
        expect(page.get_by_text("1 image goes, and what was measured with it.")).to_be_visible()
        expect(page.get_by_text("is subtracted at once, to the last bit")).to_be_visible()
        expect(page.get_by_text("No other dataset holds the same bytes.")).to_be_visible()
        page.get_by_role("button", name="Delete 1 image").click()
        dialog(page).get_by_role("button", name="Delete 1 image").click()
        page.get_by_role("link", name="Read and verify receipt 1").click()
        expect(page.get_by_text("Verified.")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save with all that verifies it").click()
        saved = tmp_path / "saved.json"
        download.value.save_as(saved)
        fingerprint = service.client.get("v1/receipts/key").json()["key_id"]
        service.stop()

    assert main(["verify-receipts", str(saved), "--fingerprint", fingerprint]) == 0
    watch.expect("ERR_CONNECTION_REFUSED")
    asked = len(watch.requests)
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("Verified.")).to_be_visible()
    assert steps(page) == ["✓ passed"] * 7  # with the growth since it was seen first
    page.get_by_role("link", name="This page verifies it").click()
    page.get_by_label("A saved receipt").set_input_files(saved)
    expect(page.get_by_text("Verified.")).to_be_visible()
    expect(page.get_by_text("This browser saw the same key first")).to_be_visible()
    assert steps(page) == ["✓ passed"] * 5
    assert [each for each in watch.requests[asked:] if "/receipts" in each] == []


def test_a_dataset_with_a_hostile_name_goes_with_its_components_once_its_name_is_typed(
    open_page: Page, signing: Served
) -> None:
    page = open_page
    component = signing.component({HOSTILE[:10]: 6, "yak": 6}, name=HOSTILE)
    dataset = dataset_of(signing, component)
    page.goto(f"{signing.url}#/unlearn/datasets/{dataset}")
    expect(page.get_by_role("heading", name="Delete dataset")).to_contain_text("<img src=x")
    expect(page.get_by_text("is removed, with its file")).to_be_visible()
    page.get_by_role("button", name="Delete the dataset").click()
    really = dialog(page).get_by_role("button", name="Delete the dataset")
    expect(really).to_be_disabled()
    dialog(page).get_by_label("to go on").fill(HOSTILE)
    expect(really).to_be_disabled()
    dialog(page).get_by_label("Also delete the 1 component").check()
    really.click()
    page.get_by_role("link", name="Read and verify receipt").click()
    expect(page.get_by_text("Verified.")).to_be_visible()
    gone = page.get_by_text("These ids are gone and are never used again")
    expect(gone).to_contain_text(component)
    expect(gone).to_contain_text(dataset)
    assert signing.client.get(f"v1/components/{component}").status_code == 410


def test_a_component_that_comes_while_the_dialog_is_open_is_named_and_has_to_be_chosen(
    open_page: Page, signing: Served, watch: Watch
) -> None:
    page = open_page
    dataset = signing.dataset({"emu": 6, "owl": 6}, name="birds")
    page.goto(f"{signing.url}#/unlearn/datasets/{dataset}")
    expect(page.get_by_text("No component was trained from it.")).to_be_visible()
    page.get_by_role("button", name="Delete the dataset").click()
    made = signing.client.post("v1/components", json={"dataset_id": dataset}).json()["id"]
    watch.expect("status of 409")
    dialog(page).get_by_label("to go on").fill("birds")
    dialog(page).get_by_role("button", name="Delete the dataset").click()
    expect(dialog(page).get_by_role("alert")).to_contain_text(made)
    dialog(page).get_by_label("Also delete the 1 component").check()
    dialog(page).get_by_role("button", name="Delete the dataset").click()
    expect(page.get_by_role("heading", name="Deleted")).to_be_visible()


def test_what_was_deleted_while_one_looked_leads_to_its_receipt(
    open_page: Page, signing: Served, watch: Watch
) -> None:
    page = open_page
    component = signing.component({"bee": 6, "fly": 6}, name="insects")
    page.goto(f"{signing.url}#/unlearn/components/{component}")
    page.get_by_role("button", name="Delete the component").click()
    receipt = signing.client.delete(f"v1/components/{component}").json()["id"]
    watch.expect("status of 410")
    dialog(page).get_by_role("button", name="Delete the component").click()
    link = page.get_by_role("link", name="Read its receipt").first
    expect(link).to_be_visible()
    assert (link.get_attribute("href") or "").endswith(receipt)


def test_a_component_is_deleted_by_the_keyboard_alone(open_page: Page, signing: Served) -> None:
    page = open_page
    component = signing.component({"ant": 6, "bug": 6}, name="small")
    page.goto(f"{signing.url}#/unlearn/components/{component}")
    button = page.get_by_role("button", name="Delete the component")
    expect(page.get_by_text("is removed, with its file")).to_be_visible()
    button.focus()
    page.keyboard.press("Enter")
    expect(dialog(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog(page)).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    really = dialog(page).get_by_role("button", name="Delete the component")
    for _ in range(5):
        if really.evaluate("button => button === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Result")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Verified.")).to_be_visible()


def test_processes_that_did_not_confirm_are_named(open_page: Page, signing: Served) -> None:
    page = open_page
    dataset = signing.dataset({"hen": 4}, name="farm")
    (hen, *_) = first_images(signing, dataset, 1)

    def with_header(route) -> None:  # type: ignore[no-untyped-def]
        if route.request.method != "DELETE":
            return route.continue_()
        answer = route.fetch()
        named = {**answer.headers, "Unconfirmed-Processes": "host-a/17"}
        return route.fulfill(response=answer, headers=named)

    page.route("**/images/*", with_header)
    page.goto(f"{signing.url}#/unlearn/datasets/{dataset}/images/{hen}")
    page.get_by_role("button", name="Delete 1 image").click()
    dialog(page).get_by_role("button", name="Delete 1 image").click()
    expect(page.get_by_text("did not confirm it: host-a/17")).to_be_visible()


def test_the_last_image_of_a_dataset_leads_to_the_dataset(
    open_page: Page, signing: Served, watch: Watch
) -> None:
    page = open_page
    dataset = signing.dataset({"auk": 1}, name="alone")
    (only,) = first_images(signing, dataset, 5)
    watch.expect("status of 409")
    page.goto(f"{signing.url}#/unlearn/datasets/{dataset}/images/{only}")
    expect(page.get_by_role("alert")).to_contain_text("is the last one")
    expect(page.get_by_role("button", name="Delete 1 image")).to_be_hidden()
    page.get_by_role("link", name="Delete the dataset instead").click()
    expect(page.get_by_role("heading", name="Delete dataset alone")).to_be_visible()
