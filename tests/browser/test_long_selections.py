"""A selection of a thousand components is made by hand: searched, chosen whole, and cut down."""

from playwright.sync_api import Page, expect

from tests.support.service import Service
from tests.support.stored_rows import store_components

COMPONENTS = 1_000
MAX_ELEMENTS = 800  # in the document, however long the list


def test_a_thousand_components_are_searched_chosen_and_left_out(page: Page, plain: Service) -> None:
    store_components(plain, [f"part {number:04d}" for number in range(COMPONENTS)], {"cat": 5})
    page.goto(f"{plain.url}/#/compose?components=none&rule=joint")
    expect(page.get_by_text("0 of 1,000 components chosen.")).to_be_visible()
    page.get_by_role("button", name="All", exact=True).click()
    expect(page.get_by_text("1,000 of 1,000 components chosen.")).to_be_visible()
    expect(page).to_have_url(f"{plain.url}/#/compose?components=all&rule=joint&space=default")
    assert page.locator("*").count() < MAX_ELEMENTS
    page.get_by_label("Search").fill("part 099")
    page.get_by_role("button", name="Leave found out").click()
    expect(page.get_by_text("990 of 1,000 components chosen.")).to_be_visible()
    expect(page.get_by_role("checkbox")).to_have_count(10)
    page.get_by_role("button", name="Choose 10 found").click()
    expect(page.get_by_text("1,000 of 1,000 components chosen.")).to_be_visible()
    page.get_by_label("Search").fill("")
    page.get_by_role("button", name="None", exact=True).click()
    expect(page.get_by_text("0 of 1,000 components chosen.")).to_be_visible()


def test_a_slider_of_a_thousand_components_moves_at_once(page: Page, plain: Service) -> None:
    page.goto(f"{plain.url}/#/compose?components=all&rule=average")
    expect(page.get_by_text("1,000 of 1,000 components chosen.")).to_be_visible()
    slider = page.get_by_role("slider", name="Weight of part 0003")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("combobox", name="Rule")).to_have_value("weighted")
    expect(page.get_by_label("Weight of part 0003, number")).to_have_value("0.2")
