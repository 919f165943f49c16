"""A thousand components, thousands of images: little is in the document, all can be reached."""

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.support.service import Service
from tests.support.stored_rows import store_components, store_copies

COMPONENTS, IMAGES = 1_000, 3_000
MAX_ELEMENTS = 1_500  # in the document, however long the list
MAX_PAGES = 60  # of a hundred rows, and some to spare


@pytest.fixture(scope="module")
def many(plain: Service) -> Service:
    """A service with a thousand components, which have no files."""
    store_components(plain, [f"part {number:04d}" for number in range(COMPONENTS)], {"cat": 5})
    return plain


def elements(page: Page) -> int:
    """Return the number of elements of the document."""
    return page.locator("*").count()


def scroll_to_the_end(page: Page, box: Locator) -> None:
    """Scroll to the end, again and again while more is read."""
    end = "(element) => element.scrollTo(0, element.scrollHeight)"
    unread = page.get_by_text("scroll for more")
    for _ in range(MAX_PAGES):
        told = unread.all_inner_texts()  # before the scroll, which may have been answered at once
        box.evaluate(end)
        assert elements(page) < MAX_ELEMENTS
        if not told:
            return
        expect(page.get_by_text(told[0], exact=True)).to_have_count(0)
    raise AssertionError("the end was not reached")


def test_a_thousand_components_are_reached_by_scrolling(page: Page, many: Service) -> None:
    page.goto(f"{many.url}/#/components?order=name")
    table = page.get_by_role("table", name="components")
    expect(table.get_by_role("link", name="part 0000")).to_be_visible()
    scroll_to_the_end(page, table)
    expect(table.get_by_role("link", name=f"part {COMPONENTS - 1:04d}")).to_be_visible()
    expect(page.get_by_text("1,000 components", exact=True)).to_be_visible()


def test_some_of_a_thousand_components_become_a_composition(page: Page, many: Service) -> None:
    page.goto(f"{many.url}/#/compositions?new=1")
    page.get_by_label("Name", exact=True).fill("some")
    page.get_by_label("Rule").select_option("weighted")
    page.get_by_label("these (0 chosen)").check()
    page.get_by_label("part 0000").check()
    page.get_by_label("Weight of part 0000").fill("0.25")
    page.get_by_label("part 0003").check()
    assert elements(page) < MAX_ELEMENTS
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="some")).to_be_visible()
    made = many.client.get("/v1/compositions/some").json()
    assert [each["weight"] for each in made["components"]] == [0.25, 1.0]


def test_thousands_of_images_are_reached_by_scrolling(page: Page, plain: Service) -> None:
    dataset = plain.dataset({"cat": 1})
    store_copies(plain, dataset, IMAGES)
    page.goto(f"{plain.url}/#/datasets/{dataset}?tab=images")
    grid = page.get_by_role("list", name="images")
    expect(grid.get_by_role("listitem").first).to_be_visible()
    scroll_to_the_end(page, grid)
    expect(grid.get_by_role("button", name=f"copy-{IMAGES - 1}.png")).to_be_visible()
    assert grid.locator("img").count() < 200


def test_a_list_narrows_by_its_filters_which_the_address_keeps(page: Page, many: Service) -> None:
    page.goto(f"{many.url}/#/components")
    page.get_by_label("Name (whole)").fill("part 0500")
    page.get_by_label("Name (whole)").press("Enter")
    table = page.get_by_role("table", name="components")
    expect(table.get_by_role("row")).to_have_count(2)
    assert "name=part+0500" in page.url
    page.reload()
    expect(table.get_by_role("row")).to_have_count(2)
    page.get_by_label("Name (whole)").fill("nobody")
    page.get_by_label("Name (whole)").press("Enter")
    expect(page.get_by_text("Nothing fits these filters.")).to_be_visible()


def test_what_is_typed_beside_a_list_stays_while_the_list_is_read(
    page: Page, many: Service
) -> None:
    asked: list[Route] = []
    page.route("**/v1/components?*", lambda route: asked.append(route))
    page.goto(f"{many.url}/#/components")
    field = page.get_by_label("Name (whole)")
    field.fill("part")
    for route in asked:
        route.continue_()
    expect(page.get_by_role("table", name="components")).to_be_visible()
    expect(field).to_have_value("part")
