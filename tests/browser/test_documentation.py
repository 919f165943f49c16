"""/docs and /redoc in a browser: nothing fails, nothing is asked of another origin."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import PATIENCE, Watch
from tests.support.served import Served
from tests.support.service import Service

DRAWN = 4 * PATIENCE  # Swagger UI takes seconds for so many routes, also on an idle machine


@pytest.mark.parametrize("name", ["docs", "redoc"])
def test_the_documentation_of_the_api_is_drawn_without_a_fault(
    page: Page, plain: Service, name: str
) -> None:
    page.goto(f"{plain.url}/{name}", wait_until="networkidle")
    expect(page.get_by_role("heading", name="Tangent Composer").first).to_be_visible()


@pytest.mark.parametrize("name", ["docs", "redoc"])
def test_it_is_drawn_below_a_prefix(page: Page, guarded: Served, name: str) -> None:
    page.goto(f"{guarded.url}{name}", wait_until="networkidle")
    expect(page.get_by_role("heading", name="Tangent Composer").first).to_be_visible()


def test_a_signed_in_person_tries_out_a_change(
    signed_in: Page, guarded: Served, watch: Watch
) -> None:
    """The cookie alone would be refused with 403: the page of the routes sends the token too."""
    watch.expect("escaping deep link whitespace")  # Swagger UI's own, of its next version
    name = {"space": "default", "rule": "average", "components": "all"}
    assert guarded.client.put("v1/compositions/tried", json=name).status_code == 201
    signed_in.goto(f"{guarded.url}docs#/compositions/compositions_delete")
    operation = signed_in.locator("#operations-compositions-compositions_delete")
    operation.get_by_role("button", name="Try it out").click(timeout=DRAWN)
    operation.get_by_placeholder("name", exact=True).fill("tried")
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text(
        "204"
    )
    assert guarded.client.get("v1/compositions/tried").status_code == 404
