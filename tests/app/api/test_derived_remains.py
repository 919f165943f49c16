"""Derived components in receipts: counted if a client requested them, never probed."""

from typing import Any

import pytest
from sqlalchemy import delete as delete_from

from app.database.sessions import transaction
from app.database.tables import Component, ComponentEvent, ComponentParent
from tests.support.client import delete, verify
from tests.support.merging import derived, made
from tests.support.refinements import ask, refined, stocked
from tests.support.service import Service
from tests.support.unlearning import probe_of


@pytest.fixture
def blocks(service: Service) -> Service:
    """A service with a space at a block scope, two components in it, and one to be deleted."""
    service = stocked(service, {"cat": 4, "dog": 4}, {"cow": 5, "dog": 3}, {"hen": 3})
    service.gone = service.made.pop()  # type: ignore
    return service


def manifest(receipt: dict[str, Any]) -> dict[str, Any]:
    (found,) = receipt["body"]["manifests"]
    return found


def check_holds(service: Service, receipt: dict[str, Any]) -> None:
    found = verify(service, receipt)
    assert (found["ok"], found["manifest_ok"], found["probe_ok"]) == (True, True, True), found


def test_a_refinement_that_the_service_replaces_leaves_older_receipts_sound(blocks):
    receipt = delete(blocks, f"components/{blocks.gone}", probe="true")
    first = refined(blocks)["refinement"]["id"]  # ready after the receipt
    check_holds(blocks, receipt)
    bystander = blocks.dataset({"yak": 2})
    later = delete(
        blocks, f"components/{blocks.train(blocks.queued(bystander, 'blocks'))}", probe="true"
    )
    assert manifest(later)["components_after"] == 2  # with a ready refinement beside them
    assert ask(blocks)["refinement"] == {"id": first, "status": "ready"}
    check_holds(blocks, later)

    blocks.component({"owl": 3}, space="blocks")
    second = ask(blocks)["refinement"]["id"]

    assert second != first
    assert blocks.client.get(f"/v1/components/{first}").json()["status"] == "cancelled"
    check_holds(blocks, later)
    made(blocks, second)
    check_holds(blocks, later)
    assert verify(blocks, receipt)["manifest_ok"] is None  # the later deletion's manifest counts


def test_what_a_client_derived_is_in_the_manifest_and_missed_if_it_goes_unseen(blocks):
    child = derived(blocks, "task_arithmetic", *blocks.made)
    receipt = delete(blocks, f"components/{blocks.gone}", probe="true")
    assert manifest(receipt)["components_after"] == 3
    check_holds(blocks, receipt)

    with transaction(blocks.state.sessions) as session:  # as who can write the tables might
        for table in (ComponentParent, ComponentEvent):
            session.execute(delete_from(table).where(table.component_id == child))
        session.execute(delete_from(Component).where(Component.id == child))

    found = verify(blocks, receipt)
    assert (found["ok"], found["manifest_ok"]) == (False, False)


def test_a_probe_is_that_of_a_world_where_nothing_was_derived(blocks, serve):
    derived(blocks, "task_arithmetic", *blocks.made)
    refined(blocks)

    receipt = delete(blocks, f"components/{blocks.gone}", probe="true")

    never = stocked(serve(), {"cat": 4, "dog": 4}, {"cow": 5, "dog": 3})
    (probe,) = receipt["body"]["probes"]
    assert probe["components"] == 2 and probe == probe_of(never, "blocks")


def test_deleting_a_member_names_all_that_was_derived_from_it(blocks):
    child = derived(blocks, "task_arithmetic", blocks.gone, blocks.made[0])
    grandchild = derived(blocks, "task_arithmetic", child, blocks.made[1])
    refinement = refined(blocks)["refinement"]["id"]

    receipt = delete(blocks, f"components/{blocks.gone}", probe="true")

    named = {each["id"] for each in receipt["body"]["subjects"]}
    assert named == {blocks.gone, child, grandchild, refinement}
    assert manifest(receipt)["components_before"] == 5  # all but the refinement
    assert manifest(receipt)["components_after"] == 2
    check_holds(blocks, receipt)
