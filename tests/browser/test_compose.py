"""Compose in a browser: images, selections, and what may go wrong meanwhile."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.accessibility import grave_faults
from tests.support.browser import NewPage, Watch
from tests.support.composer import (
    IMAGE,
    PICTURE,
    assert_near,
    logits_of,
    named,
    open_table,
    opened,
    parties_of,
    predictions,
    shown_logits,
    weigh,
)
from tests.support.served import Served
from tests.support.service import Service


@pytest.fixture(scope="module")
def parties(plain: Service) -> dict[str, str]:
    """The ids of three components whose labels overlap, by their names."""
    return parties_of(plain)


@pytest.fixture
def lost(plain: Service) -> Iterator[str]:
    """A component that the test may delete."""
    made = named(plain, plain.component({"owl": 6, "cat": 6}, start=40), "lost")
    yield made
    plain.client.delete(f"/v1/components/{made}")


def test_a_deletion_is_told_while_nobody_does_anything(
    page: Page, plain: Service, parties: dict[str, str], lost: str
) -> None:
    page.clock.install()
    opened(page, plain, f"rule=weighted&components={parties['north']}:0.5,{lost}:0.5")
    open_table(page)
    plain.client.delete(f"/v1/components/{lost}").raise_for_status()
    page.clock.fast_forward(20_000)
    expect(page.get_by_text("No longer there, and left out: lost")).to_be_visible()
    expect(page.get_by_role("checkbox", name="lost")).not_to_be_visible()
    open_table(page)  # of the new answer
    assert_near(shown_logits(page), logits_of(plain, {parties["north"]: 0.5}, "weighted"))
    page.get_by_role("button", name="Take out of the selection").click()
    expect(page.get_by_text("No longer there")).not_to_be_visible()


def test_a_component_that_was_deleted_is_left_out_on_a_click(
    page: Page, plain: Service, parties: dict[str, str], lost: str, watch: Watch
) -> None:
    watch.expect("status of 410")
    opened(page, plain, f"rule=joint&components={parties['north']},{lost}")
    open_table(page)
    plain.client.delete(f"/v1/components/{lost}").raise_for_status()
    weigh(page, "north", 2)
    expect(page.get_by_role("link", name="Read its receipt")).to_be_visible()
    page.get_by_role("button", name="Leave lost out").click()
    open_table(page)
    assert_near(shown_logits(page), logits_of(plain, {parties["north"]: 2.0}, "joint"))


def test_two_selections_answer_one_image_side_by_side(
    page: Page, plain: Service, parties: dict[str, str]
) -> None:
    opened(page, plain, f"rule=joint&components={parties['north']}")
    page.get_by_role("button", name="Compare with another selection").click()
    second = page.get_by_role("region", name="Second selection")
    second.get_by_role("checkbox", name="north").uncheck()
    second.get_by_role("checkbox", name="south").check()
    first = page.get_by_role("region", name="First selection")
    expect(first.locator(".verdict")).to_contain_text("cat")
    expect(second.locator(".ranking")).to_contain_text("fox")
    expect(first.locator(".ranking")).not_to_contain_text("fox")
    expect(page).to_have_url(re.compile(rf"b\.components={parties['south']}"))
    page.reload()  # the address holds both
    expect(second.get_by_role("checkbox", name="south")).to_be_checked()
    expect(second.get_by_role("checkbox", name="north")).not_to_be_checked()
    page.get_by_role("button", name="Close the second selection").click()
    expect(second).not_to_be_visible()


def test_all_components_can_be_compared_with_a_part_of_them(
    page: Page, plain: Service, parties: dict[str, str]
) -> None:
    page.goto(f"{plain.url}/#/compose")
    page.get_by_role("button", name="Compare with another selection").click()
    second = page.get_by_role("region", name="Second selection")
    second.get_by_role("checkbox", name="south").uncheck()
    first = page.get_by_role("region", name="First selection")
    expect(first.get_by_role("checkbox", name="south")).to_be_checked()
    expect(second.get_by_role("checkbox", name="south")).not_to_be_checked()


def test_a_selection_is_saved_and_opened_and_a_taken_name_is_told(
    page: Page, plain: Service, parties: dict[str, str], watch: Watch
) -> None:
    watch.expect("status of 412")
    body = {"rule": "average", "components": "all"}
    plain.client.put("/v1/compositions/taken", json=body).raise_for_status()
    page.goto(f"{plain.url}/#/compose?rule=weighted&components={parties['north']}:0.25")
    name = page.get_by_label("Name of the composition")
    name.fill("taken")
    page.get_by_role("button", name="Save as composition").click()
    expect(page.get_by_text("There is a composition taken already")).to_be_visible()
    page.get_by_role("button", name="Choose another name").click()
    name.fill("mine")
    page.get_by_role("button", name="Save as composition").click()
    expect(page).to_have_url(re.compile("composition=mine"))
    stored = plain.client.get("/v1/compositions/mine").json()
    assert stored["rule"] == "weighted"
    assert stored["components"] == [{"id": parties["north"], "weight": 0.25}]
    page.get_by_role("combobox", name="Open").select_option("taken")
    expect(page.get_by_role("combobox", name="Rule")).to_have_value("average")
    expect(page.get_by_role("checkbox", name="east")).to_be_checked()


def test_labels_and_names_of_strangers_are_text_and_nothing_else(
    page: Page, plain: Service, parties: dict[str, str]
) -> None:
    label = "<img src=x onerror=alert(1)>"
    made = plain.component({label: 6, "__proto__": 6, "constructor": 6})
    name = "<script>alert(2)</script>" + "w" * 150
    named(plain, made, name)
    alerts: list[Any] = []
    page.on("dialog", lambda dialog: alerts.append(dialog) or dialog.dismiss())
    opened(page, plain, f"rule=joint&components={made},{parties['north']}")
    open_table(page)
    found = shown_logits(page)
    assert {label, "__proto__", "constructor", "cat", "dog"} == set(found)
    assert_near(found, logits_of(plain, {made: 1.0, parties["north"]: 1.0}, "joint"))
    expect(page.get_by_text(name).first).to_be_visible()
    assert not alerts
    plain.client.delete(f"/v1/components/{made}").raise_for_status()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_into_a_phone(
    new_page: NewPage, plain: Service, parties: dict[str, str], scheme: str
) -> None:
    page = new_page(width=360, color_scheme=scheme)
    opened(page, plain, f"rule=joint&components={','.join(parties.values())}")
    open_table(page)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert grave_faults(page) == []


def test_more_components_than_an_answer_can_be_taken_apart_for_are_answered_as_a_whole(
    page: Page, plain: Service, parties: dict[str, str]
) -> None:
    limits = plain.client.get("/v1/limits").json() | {"max_attributed_components": 2}
    page.route("**/v1/limits", lambda route: route.fulfill(json=limits))
    opened(page, plain, f"rule=joint&components={','.join(parties.values())}")
    expect(page.locator(".verdict")).to_contain_text("cat")
    expect(page.get_by_text("for up to 2 components, and 3 are chosen")).to_be_visible()
    expect(page.get_by_text("The same numbers as a table")).not_to_be_visible()
    page.get_by_role("checkbox", name="east").uncheck()
    open_table(page)
    rest = {parties[name]: 1.0 for name in ("north", "south")}
    assert_near(shown_logits(page), logits_of(plain, rest, "joint"))


def test_a_picked_image_of_a_dataset_is_asked_about(
    page: Page, plain: Service, parties: dict[str, str]
) -> None:
    page.goto(f"{plain.url}/#/compose?rule=joint&components={parties['north']}")
    page.get_by_text("Pick from a dataset").click()
    about = plain.client.get(f"/v1/components/{parties['north']}").json()
    page.get_by_role("combobox", name="Dataset").select_option(about["dataset_id"])
    page.get_by_role("button", name="dog/").first.click()
    expect(page.locator(".verdict")).to_contain_text("dog")
    expect(page.get_by_text("labelled dog")).to_be_visible()


def test_what_is_no_image_is_told_and_the_next_one_is_answered(
    page: Page, plain: Service, parties: dict[str, str]
) -> None:
    page.goto(f"{plain.url}/#/compose?rule=joint&components={parties['north']}")
    page.get_by_role("button", name=IMAGE).set_input_files(
        {"name": "notes.png", "mimeType": "image/png", "buffer": b"no image"}
    )
    expect(page.get_by_role("alert")).to_contain_text("image")
    page.get_by_role("button", name=IMAGE).set_input_files(PICTURE)
    expect(page.locator(".verdict")).to_contain_text("cat")
    expect(page.get_by_role("alert")).not_to_be_visible()


def test_a_busy_service_is_told_with_its_time_and_asked_again_on_a_click(
    page: Page, plain: Service, parties: dict[str, str], watch: Watch
) -> None:
    watch.expect("status of 503")
    busy = {"status": 503, "code": "too_busy", "detail": "too many predictions wait", "title": "x"}
    page.route(
        "**/v1/predictions",
        lambda route: route.fulfill(
            status=503, headers={"Retry-After": "7"}, body=json.dumps(busy)
        ),
    )
    opened(page, plain, f"rule=joint&components={parties['north']}")
    expect(page.get_by_text("Try again in 7 s")).to_be_visible()
    page.unroute("**/v1/predictions")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".verdict")).to_contain_text("cat")


def test_no_label_is_given_beyond_the_bounds(
    page: Page, plain: Service, parties: dict[str, str]
) -> None:
    opened(page, plain, f"rule=joint&components={parties['north']}")
    expect(page.locator(".verdict")).to_contain_text("cat")
    page.get_by_text("When to give no label").click()
    page.get_by_label("Margin below").fill("1000")
    expect(page.locator(".verdict")).to_contain_text("No label")
    expect(page.get_by_text("The best label would have been cat")).to_be_visible()


def test_a_file_that_is_too_large_is_told_without_sending_it(
    page: Page, plain: Service, parties: dict[str, str], watch: Watch
) -> None:
    limits = plain.client.get("/v1/limits").json() | {"max_image_bytes": 100}
    page.route("**/v1/limits", lambda route: route.fulfill(json=limits))
    opened(page, plain, f"rule=joint&components={parties['north']}")
    expect(page.get_by_text("the service takes images of up to 100 bytes")).to_be_visible()
    assert predictions(watch) == 0


def test_components_that_are_trained_again_are_named(
    page: Page, plain: Service, parties: dict[str, str]
) -> None:
    def without_east(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"retraining": [parties["east"]]})

    page.route("**/v1/predictions", without_east)
    opened(page, plain, f"rule=joint&components={parties['north']}")
    expect(page.get_by_text("Left out while they are trained again: east")).to_be_visible()


def test_a_space_without_components_leads_to_an_upload(page: Page, plain: Service) -> None:
    none = {"data": [], "has_more": False, "next": None, "damaged": []}
    page.route("**/v1/components?*", lambda route: route.fulfill(json=none))
    page.goto(f"{plain.url}/#/compose")
    expect(page.get_by_text("This space has no component yet")).to_be_visible()
    page.get_by_role("link", name="Upload a dataset").click()
    expect(page).to_have_url(re.compile("#/datasets/upload$"))


def test_an_image_is_answered_with_a_key_below_a_prefix(signed_in: Page, guarded: Served) -> None:
    guarded.component({"cat": 12, "dog": 12}, name="pets")
    signed_in.get_by_role("link", name="Compose", exact=True).click()
    signed_in.get_by_text("Pick from a dataset").click()
    picture = signed_in.get_by_role("button", name="cat/").first
    expect(picture.locator("img")).to_have_js_property("complete", True)
    picture.click()
    expect(signed_in.locator(".verdict")).to_contain_text("cat")
    signed_in.get_by_label("Name of the composition").fill("pets")
    signed_in.get_by_role("button", name="Save as composition").click()
    expect(signed_in).to_have_url(re.compile("composition=pets"))
    signed_in.get_by_role("link", name="Evaluate").last.click()
    signed_in.get_by_role("button", name="Evaluate").click()
    expect(signed_in.get_by_text("Look out: measured on training images")).to_be_visible()
