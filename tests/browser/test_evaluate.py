"""Evaluate in a browser: numbers, images and files are those of the API."""

import csv
import io
import re
from pathlib import Path

import PIL.Image
import pytest
from playwright.sync_api import Download, Page, expect

from tests.support.accessibility import grave_faults
from tests.support.browser import NewPage, Watch
from tests.support.service import Service

HOSTILE = "<b onclick=alert(1)>"
FORMULA = "=1+1"


@pytest.fixture(scope="module")
def tried(plain: Service) -> str:
    """A dataset that no component was trained on, with a label that looks like a formula."""
    return plain.dataset({"cat": 30, "dog": 30, FORMULA: 60, HOSTILE: 5}, start=500)


@pytest.fixture(scope="module")
def parties(plain: Service) -> list[str]:
    """Two components, of which the first does not know all labels."""
    return [plain.component({"cat": 6, "dog": 6}), plain.component({FORMULA: 6, HOSTILE: 6})]


@pytest.fixture(scope="module")
def evaluations(plain: Service, tried: str, parties: list[str]) -> list[str]:
    """Ids of evaluations by the first component, and by both."""
    return [evaluated(plain, tried, parties[:1]), evaluated(plain, tried, parties)]


def evaluated(service: Service, dataset: str, components: list[str]) -> str:
    body = {
        "dataset_id": dataset,
        "rule": "joint",
        "components": [{"id": each} for each in components],
    }
    answer = service.client.post("/v1/evaluations", json=body, headers={"Prefer": "wait"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def answered(service: Service, evaluation: str, **query: str) -> list[dict]:
    """All images of an evaluation, through all pages."""
    rows, after = [], None
    while True:
        asked = query | {"limit": "100"} | ({"after": after} if after else {})
        page = service.client.get(f"/v1/evaluations/{evaluation}/images", params=asked).json()
        rows += page["data"]
        if not page["has_more"]:
            return rows
        after = page["next"]


def saved(page: Page, button: str) -> Download:
    with page.expect_download() as started:
        page.get_by_role("button", name=button).click()
    return started.value


def cells_of(download: Download) -> list[list[str]]:
    text = Path(download.path()).read_bytes().decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def test_an_evaluation_is_started_followed_and_taken_along(
    page: Page, plain: Service, tried: str, parties: list[str]
) -> None:
    selection = f"components={parties[0]},{parties[1]}&rule=joint&space=default"
    page.goto(f"{plain.url}/#/evaluate?{selection}&dataset={tried}")
    expect(page.get_by_role("combobox", name="Selection")).to_contain_text("2 components")
    page.get_by_role("button", name="Evaluate").click()
    expect(page.get_by_text("of 125 images right")).to_be_visible()
    made = plain.client.get(f"/v1/evaluations/{page.url.rsplit('/', 1)[1]}").json()
    assert made["rule"] == "joint"
    assert {each["id"] for each in made["components"]} == set(parties)
    expect(page.locator(".verdict")).to_contain_text(f"{100 * made['accuracy']:.1f} %")
    head, *rows = cells_of(saved(page, "All answers as CSV"))
    assert head == ["id", "path", "label", "answered"]
    expected = [[row[name] for name in head] for row in answered(plain, made["id"])]
    assert len(expected) == 125

    def harmless(text: str) -> str:
        return f"'{text}" if text.startswith("=") else text

    assert rows == [[harmless(cell) for cell in row] for row in expected]
    assert any(row[2] == f"'{FORMULA}" for row in rows)
    expect(page.get_by_text("125 images in the file")).to_be_visible()


def test_the_charts_are_taken_along_as_a_picture(
    page: Page, plain: Service, evaluations: list[str]
) -> None:
    page.goto(f"{plain.url}/#/evaluate/{evaluations[1]}")
    download = saved(page, "Charts as PNG")
    assert download.suggested_filename == f"{evaluations[1]}.png"
    picture = PIL.Image.open(download.path())
    assert picture.format == "PNG"
    colours = picture.convert("RGB").getcolors(picture.width * picture.height)
    assert len(colours) > 50  # cells of several shades, text and points


def test_the_matrix_has_the_counts_and_a_cell_shows_its_images(
    page: Page, plain: Service, evaluations: list[str]
) -> None:
    page.goto(f"{plain.url}/#/evaluate/{evaluations[0]}")
    confusion = plain.client.get(f"/v1/evaluations/{evaluations[0]}").json()["confusion"]
    matrix = page.get_by_role("region", name="Confusion")
    for label, answers in confusion.items():
        for answer, images in answers.items():
            name = f"{images} of {label} answered {answer}"
            expect(matrix.get_by_role("button", name=name, exact=True)).to_have_text(str(images))
    answer, images = next(iter(confusion[FORMULA].items()))
    matrix.get_by_role("button", name=f"{images} of {FORMULA} answered {answer}").click()
    expect(page.get_by_text(f"{images} images", exact=True)).to_be_visible()
    row = page.get_by_role("list", name="Images").get_by_role("listitem").first
    expect(row).to_contain_text(f"labelled {FORMULA}, answered {answer}")
    expect(page.get_by_role("heading", name="Wrong images")).to_be_focused()


def test_an_image_leads_to_what_gave_its_answer(
    page: Page, plain: Service, evaluations: list[str]
) -> None:
    page.goto(f"{plain.url}/#/evaluate/{evaluations[0]}")
    wrong = answered(plain, evaluations[0], wrong="true")[0]
    page.get_by_role("link", name=f"See what gave this answer to {wrong['path']}").click()
    expect(page.locator(".verdict")).to_contain_text(wrong["answered"])
    expect(page.get_by_text(f"labelled {wrong['label']}")).to_be_visible()


def test_one_selection_stands_against_another_with_the_images_that_changed(
    page: Page, plain: Service, evaluations: list[str]
) -> None:
    before, now = evaluations
    page.goto(f"{plain.url}/#/evaluate/{now}")
    page.get_by_role("combobox", name="Compare with").select_option(before)
    expect(page).to_have_url(re.compile(f"/evaluate/{now}/against/{before}"))
    page.get_by_role("combobox", name="Change").select_option("fixed")
    fixed = answered(plain, now, compared_to=before, change="fixed")
    row = page.get_by_role("list", name="Images").get_by_role("listitem").first
    expect(row).to_contain_text(f"baseline: {fixed[0]['before']}")
    head, *rows = cells_of(saved(page, "Changed images as CSV"))
    assert head[-2:] == ["before", "change"]
    assert len(rows) == len(answered(plain, now, compared_to=before))
    assert {row[-1] for row in rows} >= {"fixed"}


def test_two_selections_are_evaluated_together(
    page: Page, plain: Service, tried: str, parties: list[str]
) -> None:
    first = f"components={parties[0]}&rule=joint&space=default"
    second = f"b.components={parties[0]},{parties[1]}&b.rule=average&b.space=default"
    page.goto(f"{plain.url}/#/evaluate?{first}&{second}&dataset={tried}")
    page.get_by_role("button", name="Evaluate").click()
    expect(page).to_have_url(re.compile("/against/"))
    expect(page.get_by_role("region", name="Baseline")).to_contain_text("rule joint")
    expect(page.get_by_role("region", name="Candidate")).to_contain_text("rule average")
    expect(page.get_by_role("rowheader", name="Accuracy")).to_be_visible()


def test_a_selection_without_a_rule_is_evaluated_by_the_space_s_own(
    page: Page, plain: Service, tried: str, parties: list[str]
) -> None:
    page.goto(f"{plain.url}/#/evaluate?components={parties[0]}&space=default&dataset={tried}")
    page.get_by_role("button", name="Evaluate").click()
    expect(page.get_by_text("of 125 images right")).to_be_visible()
    expect(page.get_by_text("rule joint")).to_be_visible()


def test_training_images_are_warned_of(page: Page, plain: Service, parties: list[str]) -> None:
    own = plain.client.get(f"/v1/components/{parties[0]}").json()["dataset_id"]
    made = evaluated(plain, own, parties[:1])
    page.goto(f"{plain.url}/#/evaluate/{made}")
    expect(page.get_by_text("Look out: measured on training images")).to_be_visible()


def test_an_evaluation_that_a_deletion_invalidated_says_so_and_names_the_receipt(
    page: Page, plain: Service, tried: str
) -> None:
    component = plain.component({"cat": 5, "dog": 5}, start=90)
    made = evaluated(plain, tried, [component])
    receipt = plain.client.delete(f"/v1/components/{component}").json()["id"]
    page.goto(f"{plain.url}/#/evaluate/{made}")
    expect(page.get_by_text("It is no longer valid")).to_be_visible()
    link = page.get_by_role("link", name="Read the receipt")
    expect(link).to_have_attribute("href", f"#/receipts/{receipt}")
    expect(page.get_by_role("region", name="Confusion")).not_to_be_visible()


def test_an_evaluation_is_cancelled_and_deleted(
    page: Page, plain: Service, tried: str, parties: list[str], watch: Watch
) -> None:
    watch.expect("status of 404")
    running = {"status": "running", "progress": {"done": 10, "total": 125}}
    made = evaluated(plain, tried, parties)
    shown = plain.client.get(f"/v1/evaluations/{made}").json()
    address = f"**/v1/evaluations/{made}"
    page.route(address, lambda route: route.fulfill(json=shown | running))
    page.route(f"{address}/cancel", lambda route: route.fulfill(json=shown))
    page.goto(f"{plain.url}/#/evaluate/{made}")
    expect(page.get_by_text("10 of 125 images answered")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "10")
    with page.expect_request(f"{address}/cancel"):
        page.get_by_role("button", name="Cancel").click()
    page.unroute(address)
    page.get_by_role("button", name="Delete this evaluation").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page).to_have_url(re.compile("#/evaluate$"))
    assert plain.client.get(f"/v1/evaluations/{made}").status_code == 404


def test_a_hundred_labels_have_a_matrix_that_scrolls(
    page: Page, plain: Service, evaluations: list[str]
) -> None:
    shown = plain.client.get(f"/v1/evaluations/{evaluations[0]}").json()
    labels = [f"label number {number}" for number in range(101)]
    shown["confusion"] = {
        label: {label: 3, labels[at - 1]: 1} for at, label in enumerate(labels[:100])
    }
    page.route(f"**/v1/evaluations/{evaluations[0]}", lambda route: route.fulfill(json=shown))
    page.goto(f"{plain.url}/#/evaluate/{evaluations[0]}")
    matrix = page.get_by_role("region", name="Confusion")
    expect(matrix.get_by_role("row")).to_have_count(101)
    expect(page.get_by_text("1 are not shown")).to_be_visible()
    head, side = matrix.get_by_role("columnheader").nth(1), matrix.get_by_role("rowheader").first
    matrix.evaluate("(box) => box.scrollTo(2000, 2000)")
    box = matrix.bounding_box()
    assert box is not None
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 1280
    assert abs(head.bounding_box()["y"] - box["y"]) < 3  # stays at the top
    assert abs(side.bounding_box()["x"] - box["x"]) < 3  # stays at the left


def test_it_fits_into_a_phone_and_strangers_labels_are_text(
    new_page: NewPage, plain: Service, evaluations: list[str]
) -> None:
    page = new_page(width=360, color_scheme="dark", reduced_motion="reduce")
    page.goto(f"{plain.url}/#/evaluate/{evaluations[1]}")
    expect(page.get_by_role("rowheader", name=HOSTILE).first).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert grave_faults(page) == []
    page.goto(f"{plain.url}/#/evaluate/{evaluations[1]}/against/{evaluations[0]}")
    expect(page.get_by_role("list", name="Images")).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert grave_faults(page) == []
