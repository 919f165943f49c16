"""Weights in the composer: what the page computes is what the service answers.

Under average and weighted nothing is asked for; under joint it is, but for one left-out component.
"""

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.browser import Watch
from tests.support.composer import (
    assert_near,
    logits_of,
    open_table,
    opened,
    parties_of,
    predictions,
    shown_logits,
    weigh,
)
from tests.support.service import Service
from tests.support.workers import until


@pytest.fixture(scope="module")
def parties(plain: Service) -> dict[str, str]:
    """The ids of three components whose labels overlap, by their names."""
    return parties_of(plain)


def test_logits_of_a_hundred_weightings_are_those_of_the_service_and_none_is_asked_for(
    page: Page, plain: Service, parties: dict[str, str], watch: Watch
) -> None:
    ids = list(parties.values())
    opened(page, plain, f"rule=weighted&components={','.join(f'{id_}:0.5' for id_ in ids)}")
    open_table(page)
    asked = predictions(watch)
    rng = np.random.default_rng(0)
    for _ in range(100):
        weights = dict(zip(ids, rng.uniform(-1, 1, len(ids)).round(3).tolist(), strict=True))
        for name, id_ in parties.items():
            weigh(page, name, weights[id_])
        assert_near(shown_logits(page), logits_of(plain, weights, "weighted"))
    assert predictions(watch) == asked


def test_a_slider_under_average_goes_on_as_weighted_and_says_so(
    page: Page, plain: Service, parties: dict[str, str], watch: Watch
) -> None:
    opened(page, plain, f"rule=average&components={','.join(parties.values())}")
    open_table(page)
    assert_near(shown_logits(page), logits_of(plain, dict.fromkeys(parties.values(), 1), "average"))
    asked = predictions(watch)
    page.get_by_role("slider", name="Weight of north").fill("0.75")
    expect(page.get_by_role("combobox", name="Rule")).to_have_value("weighted")
    expect(page.get_by_text("not calibrated for these weights")).to_be_visible()
    third = 1 / 3
    weights = {parties["north"]: 0.75, parties["south"]: third, parties["east"]: third}
    assert_near(shown_logits(page), logits_of(plain, weights, "weighted"))
    assert predictions(watch) == asked
    page.get_by_role("button", name="Calibrate").click()
    expect(page.get_by_text("not calibrated for these weights")).not_to_be_visible()
    assert predictions(watch) == asked + 1


def test_a_component_is_left_out_of_an_average_without_a_request(
    page: Page, plain: Service, parties: dict[str, str], watch: Watch
) -> None:
    opened(page, plain, f"rule=average&components={','.join(parties.values())}")
    open_table(page)
    asked = predictions(watch)
    page.get_by_role("checkbox", name="east").uncheck()
    expect(page.get_by_text("2 of")).to_be_visible()
    rest = {parties[name]: 1.0 for name in ("north", "south")}
    assert_near(shown_logits(page), logits_of(plain, rest, "average"))
    assert predictions(watch) == asked


def test_a_component_is_left_out_of_joint_as_the_service_answers_without_it(
    page: Page, plain: Service, parties: dict[str, str], watch: Watch
) -> None:
    opened(page, plain, f"rule=joint&components={','.join(parties.values())}")
    open_table(page)
    whole, asked = shown_logits(page), predictions(watch)
    for name in parties:
        page.get_by_role("checkbox", name=name).uncheck()
        expect(page.get_by_text(f"Without {name}")).to_be_visible()
        rest = {id_: 1.0 for other, id_ in parties.items() if other != name}
        assert_near(shown_logits(page), logits_of(plain, rest, "joint"))
        page.get_by_role("checkbox", name=name).check()
        assert_near(shown_logits(page), whole)
    assert predictions(watch) == asked
    assert_near(whole, logits_of(plain, dict.fromkeys(parties.values(), 1.0), "joint"))


def test_weights_of_joint_are_asked_for_once_they_rest_and_the_last_one_is_shown(
    page: Page, plain: Service, parties: dict[str, str], watch: Watch
) -> None:
    opened(page, plain, f"rule=joint&components={','.join(parties.values())}")
    open_table(page)
    held: list[Route] = []
    page.route("**/v1/predictions", lambda route: held.append(route))
    asked = predictions(watch)
    for weight in (1.5, 1.7, 2):
        weigh(page, "north", weight)
    expect(page.get_by_text("Asking the service")).to_be_visible()
    until(lambda: page.wait_for_timeout(10) or held)
    assert predictions(watch) == asked + 1
    weigh(page, "north", 0.5)  # while the service still works on 2
    until(lambda: page.wait_for_timeout(10) or len(held) == 2)
    held[1].continue_()
    expect(page.get_by_text("Asking the service")).not_to_be_visible()
    weights = {parties["north"]: 0.5, parties["south"]: 1.0, parties["east"]: 1.0}
    assert_near(shown_logits(page), logits_of(plain, weights, "joint"))
    assert predictions(watch) == asked + 2


def test_everything_is_done_by_the_keyboard(
    page: Page, plain: Service, parties: dict[str, str]
) -> None:
    opened(page, plain, f"rule=weighted&components={parties['north']}:0.5,{parties['south']}:0.5")
    open_table(page)
    before = shown_logits(page)
    slider = page.get_by_role("slider", name="Weight of north")
    page.get_by_label("Search").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if slider.evaluate("(element) => element === document.activeElement"):
            break
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Weight of north, number")).to_have_value("0.51")
    assert shown_logits(page) != before
    page.get_by_role("checkbox", name="north").focus()
    page.keyboard.press("Space")
    expect(slider).not_to_be_visible()


def test_at_a_block_scope_a_refined_answer_has_no_parts_until_the_one_shot_one_is_asked_for(
    page: Page, plain: Service
) -> None:
    body = {"name": "deep", "backbone": "resnet_micro_32", "scope": "last-block"}
    plain.client.post("/v1/spaces", json=body).raise_for_status()
    ids = [plain.component({"cat": 4, "dog": 4}, space="deep", start=at) for at in (0, 40)]
    opened(page, plain, "space=deep&rule=joint&components=all")
    expect(page.get_by_text("it is no sum over components")).to_be_visible()
    page.get_by_role("button", name="Show the one-shot answer with its parts").click()
    open_table(page)
    expect(page.get_by_text("a quick approximation")).to_be_visible()
    assert_near(shown_logits(page), logits_of(plain, dict.fromkeys(ids, 1.0), "joint"))
    page.get_by_role("combobox", name="Rule").select_option("weighted")
    expect(page.get_by_text("every component counts as you say")).to_be_visible()
    slider = page.get_by_role("slider").first
    slider.fill("0.9")
    expect(page.get_by_text("without a request.", exact=False).first).to_be_visible()
    shown = plain.client.get("/v1/components", params={"space": "deep", "order": "name"}).json()
    first = shown["data"][0]["id"]
    weights = {id_: 0.9 if id_ == first else 0.5 for id_ in ids}
    assert_near(shown_logits(page), logits_of(plain, weights, "weighted"))
