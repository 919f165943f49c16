"""Lists over real HTTP: filters, and pages that are right in every order."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from app.database.sessions import transaction
from tests.support.client import WAIT, compose, delete
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


def pages(service: Service, path: str, limit: int = 2, **query: str) -> Iterator[dict[str, Any]]:
    """Yield the pages of a list, to its end."""
    given: dict[str, Any] = {**query, "limit": limit}
    while True:
        answer = service.client.get(f"/v1/{path}", params=given)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        if not answer.json()["has_more"]:
            return
        given["after"] = answer.json()["next"]


def listed(service: Service, path: str, shown: str = "id", **query: str) -> list[str]:
    """Return the ids, or names, of all that is listed, a page of two at a time."""
    return [each[shown] for page in pages(service, path, **query) for each in page["data"]]


def described(service: Service, noun: str, id_: str, **change: Any) -> dict[str, Any]:
    answer = service.client.patch(f"/v1/{noun}/{id_}", json=change)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_datasets_in_every_order_with_names_that_repeat(either):
    """The naive twin: all rows at once, sorted here; each page of two goes on where one ended."""
    names = ["north", "south", "north", "Äußere", "north", "east"]
    ids = [either.dataset({"cat": 1}, start=n, name=name) for n, name in enumerate(names)]
    with transaction(either.state.reading) as session:  # as the database sorts text
        by_name = [*session.scalars(text("SELECT id FROM dataset ORDER BY name, id"))]
    assert listed(either, "datasets") == listed(either, "datasets", order="created_at") == ids
    assert listed(either, "datasets", order="-created_at") == ids[::-1]
    assert listed(either, "datasets", order="name") == by_name
    assert listed(either, "datasets", order="-name") == by_name[::-1]
    assert listed(either, "datasets", order="-name", name="north") == [ids[4], ids[2], ids[0]]


def test_a_page_goes_on_where_it_ended_although_its_last_row_has_gone_or_changed(service):
    ids = [service.dataset({"cat": 1}, start=n, name=name) for n, name in enumerate("abcdef")]
    walk = pages(service, "datasets", order="name")
    assert [each["name"] for each in next(walk)["data"]] == ["a", "b"]
    delete(service, f"datasets/{ids[1]}")
    described(service, "datasets", ids[0], name="z")
    assert [each["name"] for each in next(walk)["data"]] == ["c", "d"]
    described(service, "datasets", ids[3], name="a")
    assert [each["name"] for each in next(walk)["data"]] == ["e", "f"]
    assert [each["name"] for each in next(walk)["data"]] == ["z"]


def test_datasets_by_label_space_and_metadata(either):
    either.client.post(
        "/v1/spaces", json={"name": "pets", "backbone": "resnet_micro_32", "scope": "head"}
    )
    cats = either.dataset({"cat": 1}, metadata='{"site": "north", "o\\"d.d": "1"}')
    dogs = either.dataset({"dog": 1, "cat": 1}, start=3, metadata='{"site": "south"}', space="pets")
    cows = either.dataset({"cow": 1}, metadata='{"site": "north"}')
    assert listed(either, "datasets", label="cat") == [cats, dogs]
    assert listed(either, "datasets", label="horse") == []
    assert listed(either, "datasets", space="pets") == [dogs]
    assert listed(either, "datasets", **{"metadata.site": "north"}) == [cats, cows]
    assert listed(either, "datasets", **{"metadata.site": "north"}, label="cow") == [cows]
    assert listed(either, "datasets", **{'metadata.o"d.d': "1"}) == [cats]
    both = {"metadata.site": "north", 'metadata.o"d.d': "1"}
    assert listed(either, "datasets", **both) == [cats]
    assert listed(either, "datasets", **{"metadata.site": "nor%"}) == []


def test_components_by_what_they_are_and_come_from(either):
    first = either.component({"cat": 2, "dog": 2})
    dataset = either.client.get(f"/v1/components/{first}").json()["dataset_id"]
    second = either.queued(dataset, name="twin", metadata={"run": "2"})
    third = either.component({"cow": 2})
    assert listed(either, "components", label="dog") == [first, second]
    assert listed(either, "components", dataset_id=dataset, order="-created_at") == [second, first]
    assert listed(either, "components", status="ready") == [first, third]
    assert listed(either, "components", name="twin") == [second]
    assert listed(either, "components", **{"metadata.run": "2"}) == [second]
    assert listed(either, "components", space="none") == []


def test_compositions_by_component_metadata_and_times(either):
    parts = [either.component({"cat": 2}), either.component({"dog": 2})]
    for name, members in {"a": parts, "b": parts[:1], "c": parts[1:], "d": "all"}.items():
        compose(either, name, members, metadata={"kind": "one" if len(members) == 1 else "more"})
    assert listed(either, "compositions", "name", component_id=parts[0]) == ["a", "b"]
    assert listed(either, "compositions", "name", **{"metadata.kind": "one"}) == ["b", "c"]
    described(either, "compositions", "b", metadata={"kind": None})
    assert listed(either, "compositions", "name", order="-updated_at") == ["b", "d", "c", "a"]
    assert listed(either, "compositions", "name", order="created_at") == ["a", "b", "c", "d"]
    assert listed(either, "compositions", "name", order="-name") == ["d", "c", "b", "a"]


def test_evaluations_and_batch_predictions_by_what_has_a_part_in_them(either):
    parts = [either.component({"cat": 2}), either.component({"cow": 2})]
    asked = either.dataset({"cat": 2}, start=9)
    for noun in ("evaluations", "batch-predictions"):
        made = []
        for members in (parts, parts[:1], parts[1:]):
            body = {"dataset_id": asked, "components": [{"id": each} for each in members]}
            made.append(either.client.post(f"/v1/{noun}", json=body, headers=WAIT).json()["id"])
        assert listed(either, noun, component_id=parts[0]) == made[:2]
        assert listed(either, noun, component_id=parts[1], order="-created_at") == made[::-2]
        assert listed(either, noun, dataset_id=asked, space="default") == made
        assert listed(either, noun, status="cancelled") == []


def test_spaces_by_what_a_components_file_says(shared):
    for name, scope in {"one": "head", "two": "last-block"}.items():
        body = {"name": name, "backbone": "vit_micro_32", "scope": scope}
        shared.client.post("/v1/spaces", json=body)
    found = shared.client.get("/v1/spaces/two").json()["fingerprint"]
    assert listed(shared, "spaces", "name", fingerprint=found) == ["two"]
    assert listed(shared, "spaces", "name", backbone="vit_micro_32", order="-name") == [
        "two",
        "one",
    ]
    assert listed(shared, "spaces", "name", order="created_at") == ["default", "one", "two"]


def test_images_by_label_are_found_by_an_index(service):
    dataset = service.dataset({"cat": 3, "dog": 1})
    assert len(listed(service, f"datasets/{dataset}/images", label="cat")) == 3
    query = "SELECT id FROM image WHERE dataset_id = 'a' AND label = 'b' AND id > 'c' ORDER BY id"
    with transaction(service.state.reading) as session:
        plan = [row[3] for row in session.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
    assert "ix_image_dataset_id_label_id" in plan[0] and len(plan) == 1, plan


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"order": "size"}, "invalid_request"),
        ({"order": "name", "after": "ds_0190"}, "bad_cursor"),
        ({"after": "WyJhIiwiZHMiXQ"}, "bad_cursor"),  # ["a","ds"], of another order
        ({"order": "name", "after": "WyJhIl0"}, "bad_cursor"),  # ["a"]
        ({"order": "name", "after": "WzEsImRzIl0"}, "bad_cursor"),  # [1,"ds"]
        ({"order": "name", "after": "WyJcdWQ4MDAiLCJkcyJd"}, "bad_cursor"),  # ["\ud800","ds"]
        ({"order": "name", "after": "W1tdLFtdXQ"}, "bad_cursor"),  # [[],[]]
        ({"metadata.": "1"}, "invalid_request"),
        ({f"metadata.{'k' * 65}": "1"}, "invalid_request"),
        ({"metadata.k": "v" * 513}, "invalid_request"),
        ({f"metadata.{n}": "v" for n in range(17)}, "invalid_request"),
    ],
)
def test_what_no_list_can_have_is_refused(shared: Service, query: dict[str, str], code: str):
    problem(shared.client.get("/v1/datasets", params=query), 422, code)


@pytest.mark.parametrize("after", ["garbage", "-1", "ds_", "DS_01", "img_01_", "9" * 41])
def test_what_is_no_cursor_is_refused_by_every_list_of_ids(shared: Service, after: str):
    dataset_id = shared.dataset({"cat": 1}, start=40)
    lists = ["datasets", "components", "evaluations", "batch-predictions", "receipts"]
    same = f"images?sha256={'0' * 64}"
    for path in [*lists, "keys", "audit", same, f"datasets/{dataset_id}/images"]:
        mark = "&" if "?" in path else "?"
        problem(shared.client.get(f"/v1/{path}{mark}after={after}"), 422, "bad_cursor")


def test_a_cursor_whose_row_is_gone_goes_on_and_one_of_no_receipt_is_refused(shared: Service):
    gone = shared.dataset({"cat": 1}, start=41)
    delete(shared, f"datasets/{gone}")
    assert shared.client.get(f"/v1/datasets?after={gone}").status_code == 200
    problem(shared.client.get("/v1/receipts?after=rcpt_00"), 422, "bad_cursor")


def test_a_row_whose_json_is_damaged_hinders_no_filter(service):
    whole, damaged = service.dataset({"cat": 1}), service.dataset({"cat": 1}, start=2)
    with transaction(service.state.sessions) as session:
        for statement in (
            "DROP TRIGGER IF EXISTS dataset_seal_update",
            f"UPDATE dataset SET labels = '{{\"cat', checksum = 'x' WHERE id = '{damaged}'",
        ):
            session.execute(text(statement))
    assert listed(service, "datasets", label="cat") == [whole]
