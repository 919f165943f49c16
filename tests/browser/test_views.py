"""Every view shows strangers' texts as texts, fits a phone, and is accessible to all."""

import csv
import io
import zipfile
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.support.accessibility import grave_faults
from tests.support.browser import NewPage
from tests.support.images import image
from tests.support.service import Service

MARKUP = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(2)</script>"
HEBREW = "שלום \u200f(1) عربى"
LONG = "m" * 200
LABELS = (MARKUP, SCRIPT, HEBREW, LONG)
VIEWS = (
    *("", "spaces", "spaces/default", "datasets", "datasets/upload", "datasets/{dataset}"),
    *("datasets/{dataset}?tab=images", "datasets/{dataset}?tab=doubts", "components"),
    *("components/{component}", "compositions", "compositions/all", "compositions?new=1"),
    *(
        "compose",
        "compose?composition=all",
        "evaluate",
        "unlearn",
        "unlearn/components/{component}",
    ),
    *("unlearn/datasets/{dataset}", "unlearn/datasets/{dataset}/images/{image}"),
    *("receipts", "receipts/{receipt}"),
)


@dataclass(frozen=True)
class Hostile:
    """A service whose names are hostile, and the ids in it."""

    url: str
    ids: dict[str, str]

    def address(self, view: str) -> str:
        """Return the address of a view."""
        return f"{self.url}/#/{view.format(**self.ids)}"


def archive() -> bytes:
    """Return a zip with hostile labels, hostile paths, and files that are rejected."""
    file, table = io.BytesIO(), io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["file_name", "label"])
    with zipfile.ZipFile(file, "w") as packed:
        for label in LABELS:
            for number in range(6):
                path = f"{MARKUP}{'p' * 950}/{LABELS.index(label)}-{number}.png"
                packed.writestr(path, image(label, number))
                rows.writerow([path, label])
        packed.writestr(f"{MARKUP}.txt", "no image")
        packed.writestr("metadata.csv", table.getvalue())
    return file.getvalue()


@pytest.fixture(scope="module")
def hostile(plain: Service) -> Hostile:
    """A service with a dataset, a component, a composition and a receipt of hostile names."""
    files = {"file": ("x.zip", archive(), "application/zip")}
    fields = {"name": f"{MARKUP} {LONG}"[:250], "metadata": f'{{"note": "{MARKUP}"}}'}
    uploaded = plain.client.post("/v1/datasets", files=files, data=fields)
    assert uploaded.status_code == 201, uploaded.text
    dataset = uploaded.json()["id"]
    component = plain.train(plain.queued(dataset, name=f"{SCRIPT} {HEBREW}"))
    body = {"rule": "joint", "components": [{"id": component}], "metadata": {"note": MARKUP}}
    assert plain.client.put("/v1/compositions/all", json=body).status_code == 201
    images = plain.client.get(f"/v1/datasets/{dataset}/images").json()["data"]
    receipt = plain.client.delete(f"/v1/components/{plain.component({MARKUP: 3, 'b': 3})}").json()
    ids = {"dataset": dataset, "component": component, "image": images[0]["id"]}
    return Hostile(plain.url, ids | {"receipt": receipt["id"]})


def show(page: Page, address: str) -> None:
    """Open a view and wait until all of it is there."""
    page.goto(address, wait_until="networkidle")
    expect(page.locator("main h1").first).to_be_visible()
    expect(page.locator(".loading")).to_have_count(0)


def made_of_texts(page: Page) -> None:
    """Check that no text of a stranger has become an element."""
    assert page.locator("img[src=x], main script, [onerror]").count() == 0
    assert page.locator("script").count() == 1  # the page's own


WIDER = """() => {
  const { scrollWidth, clientWidth } = document.scrollingElement;
  if (scrollWidth <= clientWidth) return [];
  const wide = (element) => element.getBoundingClientRect().right > clientWidth + 1;
  const all = [...document.querySelectorAll("main *")];
  return all.filter(wide).map((each) => each.outerHTML.slice(0, 120));
}"""


def wider(page: Page) -> list[str]:
    """Return the elements for which the page itself scrolls sideways; none if it does not."""
    return page.evaluate(WIDER)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_with_hostile_names_is_sound_in_a_wide_window(
    page: Page, hostile: Hostile, view: str
) -> None:
    show(page, hostile.address(view))
    made_of_texts(page)
    assert wider(page) == []
    assert grave_faults(page) == []


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_with_hostile_names_is_sound_on_a_phone_in_the_dark(
    new_page: NewPage, hostile: Hostile, view: str
) -> None:
    page = new_page(width=360, height=740, color_scheme="dark", reduced_motion="reduce")
    show(page, hostile.address(view))
    made_of_texts(page)
    assert wider(page) == []
    assert grave_faults(page) == []


def test_hostile_names_are_shown_as_they_are(page: Page, hostile: Hostile) -> None:
    show(page, hostile.address("datasets/{dataset}"))
    for label in (MARKUP, SCRIPT, HEBREW):
        expect(page.get_by_role("link", name=label, exact=True).first).to_be_visible()
    expect(page.get_by_text(f"{MARKUP}.txt")).to_be_visible()
    show(page, hostile.address("components/{component}"))
    expect(page.get_by_role("heading", level=1)).to_contain_text(SCRIPT)


def test_nothing_moves_for_who_wants_no_motion(new_page: NewPage, hostile: Hostile) -> None:
    page = new_page(reduced_motion="reduce")
    show(page, hostile.address("components"))
    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    assert page.evaluate(moving) == 0
