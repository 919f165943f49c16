"""A component in the page: its training as it happens, its curve, its end, and its lineage."""

import re

from playwright.sync_api import Page, expect

from app.database.sessions import transaction
from app.store import components
from tests.support.accessibility import grave_faults
from tests.support.served import Served
from tests.support.service import Service

LONG = {"solver": "adam", "batch_size": 1, "epochs": 10_000}  # minutes


def test_a_training_is_followed_live_and_can_be_cancelled(signed_in: Page, guarded: Served) -> None:
    page = signed_in
    dataset = guarded.dataset({"cat": 12, "dog": 12})
    body = {"dataset_id": dataset, "name": "slow", "hyperparameters": LONG}
    made = guarded.client.post("v1/components", json=body).json()["id"]
    page.goto(f"{guarded.url}#/components/{made}")
    expect(page.get_by_role("progressbar", name="Training")).to_be_visible()
    expect(page.get_by_text(re.compile(r"\d of [\d,]+ \(.* %\)"))).to_be_visible(timeout=60_000)
    curve = page.get_by_role("img", name=re.compile("The loss went from"))
    expect(curve).to_be_visible(timeout=60_000)
    first = curve.get_attribute("aria-label")
    expect(curve).not_to_have_attribute("aria-label", first or "")  # it goes on by itself
    assert grave_faults(page) == []
    page.get_by_role("button", name="Cancel the training …").click()
    page.get_by_role("button", name="Cancel the training", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("cancelled")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(curve).to_be_visible()  # what was seen stays to be seen


def test_a_training_that_ends_shows_its_measurements_at_once(
    signed_in: Page, guarded: Served
) -> None:
    page = signed_in
    dataset = guarded.dataset({"cow": 12, "hen": 12})
    page.goto(f"{guarded.url}#/datasets/{dataset}")
    page.get_by_role("button", name="Train a component").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("ready", timeout=60_000)
    expect(page.get_by_text("hold-out accuracy")).to_be_visible()
    curve = page.get_by_role("img", name=re.compile("penalties that were tried"))
    expect(curve).to_be_visible()
    made = guarded.client.get(f"v1/components?dataset_id={dataset}").json()["data"][0]["metrics"]
    page.get_by_text("The numbers").click()
    told = page.get_by_role("row").filter(has=page.get_by_role("cell"))
    expect(told).to_have_count(len(made["tried_l2"]))
    expect(told.first.get_by_role("cell").first).to_have_text(re.compile(r"^[\d.e-]+$"))


def test_a_failed_training_says_why_and_is_trained_again(page: Page, plain: Service) -> None:
    made = plain.queued(plain.dataset({"owl": 3, "fox": 3}))
    with transaction(plain.state.sessions) as session:
        components.start(session, made, executor_id="test")
        assert components.fail(session, made, code="no_memory", detail="take fewer images")
    page.goto(f"{plain.url}/#/components/{made}")
    expect(page.get_by_role("alert")).to_contain_text("take fewer images")
    page.get_by_role("button", name="Train again …").click()
    page.get_by_role("button", name="Train again", exact=True).click()
    expect(page.get_by_text("It waits for a worker.")).to_be_visible()
    assert plain.client.get(f"/v1/components/{made}").json()["status"] == "queued"


def test_lineage_leads_from_the_dataset_to_the_composition_and_back(
    page: Page, plain: Service
) -> None:
    component = plain.component({"cat": 3, "dog": 3})
    dataset = plain.client.get(f"/v1/components/{component}").json()["dataset_id"]
    body = {"rule": "joint", "components": [{"id": component}]}
    assert plain.client.put("/v1/compositions/both", json=body).status_code == 201
    page.goto(f"{plain.url}/#/datasets/{dataset}")
    page.locator(f"a[href='#/components/{component}']").click()
    expect(page.get_by_role("heading", name="Lineage")).to_be_visible()
    page.locator("a[href='#/compositions/both']").click()
    expect(page.get_by_role("heading", name="both")).to_be_visible()
    page.locator(f"a[href='#/components/{component}']").click()
    page.locator(f"a[href='#/datasets/{dataset}']").click()
    expect(page.get_by_role("heading", name="Components trained from it")).to_be_visible()


def test_a_component_is_renamed(page: Page, plain: Service) -> None:
    component = plain.component({"cat": 3, "dog": 3})
    page.goto(f"{plain.url}/#/components/{component}")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("New name").fill("clinic north")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name="clinic north")).to_be_visible()
    assert plain.client.get(f"/v1/components/{component}").json()["name"] == "clinic north"
