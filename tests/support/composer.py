"""The composer in a browser, and the service's own answers to compare its numbers with.

opened(page, service, "rule=joint&components=cmp_1,cmp_2")      with PICTURE given
shown_logits(page)                                             of its table, once open_table(page)
"""

import json
import re

from playwright.sync_api import Page, expect

from tests.support.browser import Watch
from tests.support.images import image
from tests.support.service import Service

PARTIES = {  # names and the labels of their images
    "north": {"cat": 8, "dog": 8},
    "south": {"dog": 6, "fox": 6},
    "east": {"fox": 7, "cow": 7},
}
PICTURE = {"name": "cat.png", "mimeType": "image/png", "buffer": image("cat", 99)}
IMAGE = re.compile("image$", re.I)  # the name of the place for a file
NEAR = 1e-5


def parties_of(service: Service) -> dict[str, str]:
    """Make three components whose labels overlap; return their ids by their names."""
    return {
        name: named(service, service.component(counts), name) for name, counts in PARTIES.items()
    }


def named(service: Service, component_id: str, name: str) -> str:
    """Give a component a name; return its id."""
    service.client.patch(f"/v1/components/{component_id}", json={"name": name}).raise_for_status()
    return component_id


def logits_of(service: Service, weights: dict[str, float], rule: str) -> dict[str, float]:
    """Return the service's own logits of the picture."""
    members = [
        {"id": id_} | ({} if rule == "average" else {"weight": weight})
        for id_, weight in weights.items()
    ]
    fields = {"rule": rule, "components": json.dumps(members), "top_k": "1000"}
    files = {"images": ("cat.png", PICTURE["buffer"], "image/png")}
    answer = service.client.post("/v1/predictions", data=fields, files=files)
    assert answer.status_code == 200, answer.text
    return {each["label"]: each["logit"] for each in answer.json()["results"][0]["predictions"]}


def opened(page: Page, service: Service, query: str) -> None:
    """Open the composer with a selection, and give it the picture."""
    page.goto(f"{service.url}/#/compose?{query}")
    page.get_by_role("button", name=IMAGE).set_input_files(PICTURE)


def shown_logits(page: Page) -> dict[str, float]:
    """Return the logits of the page's table, with all their digits."""
    table = page.get_by_role("region", name="Contributions").first
    return dict(
        table.evaluate(
            """(region) => {
              const labels = [...region.querySelectorAll("thead th")].slice(1);
              const cells = [...region.querySelectorAll("tfoot tr:last-child td")];
              return cells.map((cell, at) => [labels[at].textContent, Number(cell.title)]);
            }"""
        )
    )


def open_table(page: Page) -> None:
    """Open the table of the numbers of the bars."""
    page.get_by_text("The same numbers as a table").first.click()
    expect(page.get_by_role("region", name="Contributions").first).to_be_visible()


def weigh(page: Page, name: str, weight: float) -> None:
    """Type a component's weight."""
    number = page.get_by_label(f"Weight of {name}, number")
    number.fill(str(weight))
    number.press("Enter")


def predictions(watch: Watch) -> int:
    """Return how many predictions were asked for."""
    return sum(address.endswith("/v1/predictions") for address in watch.requests)


def assert_near(found: dict[str, float], expected: dict[str, float]) -> None:
    """Check that both have the same labels, and nearly the same logits."""
    assert found.keys() == expected.keys()
    for label, logit in expected.items():
        assert abs(found[label] - logit) < NEAR, (label, found[label], logit)
