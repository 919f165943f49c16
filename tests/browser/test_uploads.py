"""Uploads: an archive by keyboard alone, a folder packed in the browser, the report, a training."""

import io
import re
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import NewPage
from tests.support.images import archive, image
from tests.support.served import Served
from tests.support.service import Service

MAX_TABS = 60  # to come from one end of the page to a control


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """An archive with twelve cats, twelve dogs, a copy and a file that is no image."""
    path = tmp_path / "pets.zip"
    path.write_bytes(archive({"cat": 12, "dog": 12}))
    return path


def tab_to(page: Page, role: str, name: str) -> None:
    """Press the tab key until the control has the focus."""
    wanted = page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
    expect(wanted).to_be_visible()
    for _ in range(MAX_TABS):
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no way by tab to the {role} {name!r}")


def test_by_keyboard_alone_one_signs_in_uploads_and_trains(
    page: Page, guarded: Served, zipped: Path
) -> None:
    assert guarded.key is not None
    page.goto(f"{guarded.url}#/datasets/upload")
    expect(page.get_by_label("Key")).to_be_focused()
    page.keyboard.type(guarded.key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Upload a dataset")).to_be_visible()
    # Expected before the walk: a key just after may overtake the word that the test takes choosers.
    with page.expect_file_chooser() as chooser:
        tab_to(page, "button", "Choose an archive")
        page.keyboard.press("Enter")
    chooser.value.set_files(zipped)
    tab_to(page, "button", "Upload")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="pets: 24 images uploaded")).to_be_focused()
    tab_to(page, "button", "Train a component")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1).get_by_text("ready")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("hold-out accuracy")).to_be_visible()
    made = guarded.client.get("v1/components").json()["data"][0]
    assert (made["name"], made["status"], made["labels"]) == ("pets", "ready", ["cat", "dog"])


def test_the_report_tells_what_was_rejected_and_copied_before_anything_is_trained(
    page: Page, plain: Service, tmp_path: Path
) -> None:
    folder = tmp_path / "zoo"
    for label, number in (("cow", 0), ("cow", 1), ("hen", 0), ("hen", 1)):
        path = folder / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(label, number))
    (folder / "cow" / "copy.png").write_bytes(image("cow", 0))
    (folder / "cow" / "notes.txt").write_text("no image")
    (folder / f"größe-{'x' * 120}").mkdir()  # more than a tar's own header holds
    (folder / f"größe-{'x' * 120}" / "ö.png").write_bytes(image("größe", 0))
    page.goto(f"{plain.url}/#/datasets/upload")
    page.get_by_label("Choose a folder").set_input_files(folder)
    expect(page.get_by_text("a folder with 7 files")).to_be_visible()
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", name="zoo: 5 images uploaded")).to_be_visible()
    expect(page.get_by_role("table", name="rejected files")).to_contain_text("notes.txt")
    dataset = plain.client.get("/v1/datasets").json()["data"][-1]
    assert dataset["labels"] == {"cow": 2, "hen": 2, f"größe-{'x' * 120}": 1}
    assert dataset["duplicates"] == 1
    assert plain.client.get("/v1/components").json()["data"] == []


def test_the_same_images_again_are_told(page: Page, plain: Service, zipped: Path) -> None:
    other = plain.dataset({"cat": 12, "dog": 12})
    page.goto(f"{plain.url}/#/datasets/upload")
    page.get_by_label("Choose an archive").set_input_files(zipped)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_text("Other datasets hold the same images already")).to_be_visible()
    expect(page.get_by_role("link", name=other)).to_be_visible()


def test_an_upload_shows_how_far_it_is_and_can_be_cancelled(
    page: Page, plain: Service, tmp_path: Path
) -> None:
    before = plain.client.get("/v1/datasets").json()["data"]
    path = tmp_path / "large.zip"
    path.write_bytes(b"PK\x03\x04" + bytes(20_000_000))
    page.goto(f"{plain.url}/#/datasets/upload")
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 500_000}
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", slow)
    page.get_by_label("Choose an archive").set_input_files(path)
    page.get_by_role("button", name="Upload", exact=True).click()
    bar = page.get_by_role("progressbar", name="Upload")
    expect(bar).to_be_visible()
    expect(page.get_by_text(re.compile(r"^[1-9][\d.]* (kB|MB) of 20\.0 MB"))).to_be_visible()
    page.get_by_role("button", name="Cancel the upload").click()
    expect(bar).to_have_count(0)
    expect(page.get_by_role("button", name="Upload", exact=True)).to_be_visible()
    assert plain.client.get("/v1/datasets").json()["data"] == before


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_archive_entries": 1}, "more than 1 files"),
        ({"max_upload_bytes": 100}, "larger than one upload may be"),
    ],
)
def test_what_is_beyond_a_limit_is_told_before_anything_is_sent(
    page: Page, plain: Service, tmp_path: Path, limits: dict[str, int], reason: str
) -> None:
    known = plain.client.get("/v1/limits").json() | limits
    page.route("**/v1/limits", lambda route: route.fulfill(json=known))
    for number in range(2):
        path = tmp_path / "pets" / "cat" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image("cat", number))
    page.goto(f"{plain.url}/#/datasets/upload")
    page.get_by_label("Choose a folder").set_input_files(tmp_path / "pets")
    expect(page.get_by_role("alert")).to_contain_text(reason)
    expect(page.get_by_role("button", name="Upload", exact=True)).to_have_count(0)


def test_a_folder_becomes_a_tar_that_others_read(new_page: NewPage, plain: Service) -> None:
    page = new_page()
    page.goto(plain.url)
    paths = ["a/1.png", "a/" + "b" * 97, "a/" + "c" * 98, "ä/2.png", "d" * 900 + "/ü.png"]
    sizes = [0, 1, 511, 512, 513]
    made = page.evaluate(
        """async ([paths, sizes]) => {
          const { tarOf } = await import("./page/parts/tar.js");
          const files = sizes.map((size, at) => {
            return { path: paths[at], file: new Blob(["x".repeat(size)]) };
          });
          return [...new Uint8Array(await tarOf(files).arrayBuffer())];
        }""",
        [paths, sizes],
    )
    with tarfile.open(fileobj=io.BytesIO(bytes(made)), mode="r:") as tar:
        assert [(each.name, each.size) for each in tar] == list(zip(paths, sizes, strict=True))
