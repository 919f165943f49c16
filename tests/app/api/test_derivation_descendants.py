"""Deleting a parent deletes all its descendants and leaves nothing of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from sqlalchemy import text

from app.database.sessions import transaction
from app.database.tables import Base
from app.datasets import datasets
from app.store import components, lineage
from tests.support.client import delete
from tests.support.merging import derived, imported, queued
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"

Serve = Callable[..., Service]


def parents(service: Service) -> tuple[str, str]:
    return service.component({"cat": 4, "dog": 3}), service.component({"cow": 3, "dog": 2})


def sha(service: Service, component_id: str) -> str:
    return service.client.get(f"/v1/components/{component_id}").json()["sha256"]


def assert_nothing_is_left(service: Service, ids: list[str], receipt: dict[str, Any]) -> None:
    """Assert that only receipt, tombstone and audit log mention the ids, and that all verifies.

    The log names by id what was made and deleted, and says nothing else of it.
    """
    with service.state.sessions() as session:
        for table in Base.metadata.sorted_tables:
            if table.name in ("receipt", "tombstone", "audit_log"):
                continue
            told = repr(session.execute(text(f"SELECT * FROM {table.name}")).all())
            assert not any(each in told for each in ids), table.name
    keys = list(service.state.blobs.keys())
    assert not any(each in key for each in ids for key in keys)
    verified = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
    assert verified["ok"], verified
    for each in ids:
        gone = problem(service.client.get(f"/v1/components/{each}"), 410, "component_deleted")
        assert gone["receipt_id"] == receipt["id"]


def test_deleting_a_parent_deletes_all_that_came_of_it_and_says_so(either):
    service = either
    a, b = parents(service)
    child = derived(service, "ties", a, b)
    grandchild = derived(service, "dare", child, b)
    waiting = queued(service, "pcb", grandchild)
    kept = derived(service, "ties", b)
    for name, members in (("both", [child, b]), ("other", [kept])):
        body = {"rule": "average", "components": [{"id": each} for each in members]}
        assert service.client.put(f"/v1/compositions/{name}", json=body).status_code == 201
    gone, shas = [a, child, grandchild, waiting], [sha(service, x) for x in (a, child, grandchild)]
    preview = service.client.get(f"/v1/components/{a}/deletion-preview").json()

    receipt = delete(service, f"components/{a}")

    assert preview["derived"] == sorted(gone[1:])
    assert preview["labels_gone"] == ["cat"]
    assert [(c["name"], c["components_left"]) for c in preview["compositions"]] == [("both", 1)]
    body = receipt["body"]
    assert body["subject"] == {"kind": "component", "id": a}
    assert body["subjects"] == [{"kind": "component", "id": each} for each in sorted(gone)]
    files = [each for each in body["removed"] if each["kind"] == "component_file"]
    assert {each["sha256"] for each in files} == set(shas)
    counts = {each["kind"]: each["count"] for each in body["removed"]}
    assert counts["components"] == 4 and counts["parents"] == 2 + 2 + 1
    assert counts["job_records"] == 4
    assert [each["name"] for each in body["invalidated"]["compositions"]] == ["both"]
    assert_nothing_is_left(service, gone, receipt)
    rows = service.client.get("/v1/components").json()["data"]
    assert [row["id"] for row in rows] == [b, kept]


def test_deleting_a_derived_component_leaves_its_parents(service):
    a, b = parents(service)
    child = derived(service, "ties", a, b)
    receipt = delete(service, f"components/{child}")
    assert receipt["body"]["subjects"] == [{"kind": "component", "id": child}]
    assert_nothing_is_left(service, [child], receipt)
    assert [r["id"] for r in service.client.get("/v1/components").json()["data"]] == [a, b]


def test_a_dataset_whose_components_have_descendants_goes_by_cascade_only(service):
    a, b = parents(service)
    dataset_id = service.client.get(f"/v1/components/{a}").json()["dataset_id"]
    child = derived(service, "ties", b, a)
    refused = service.client.delete(f"/v1/datasets/{dataset_id}")
    assert problem(refused, 409, "dataset_in_use")["components"] == [a, child]
    receipt = delete(service, f"datasets/{dataset_id}?cascade=true")
    assert {each["id"] for each in receipt["body"]["subjects"]} == {a, child, dataset_id}
    assert_nothing_is_left(service, [a, child], receipt)


def test_the_dataset_that_scales_were_fitted_to_takes_them_along(service):
    a, b = parents(service)
    dataset_id = service.dataset({"cat": 3, "cow": 3, "dog": 3}, start=40)
    child = derived(service, "atlas", a, b, dataset_id=dataset_id)
    grandchild = derived(service, "ties", child)
    with transaction(service.state.sessions) as session:
        assert datasets.first_component(session, dataset_id) is None  # not trained from it
    refused = service.client.delete(f"/v1/datasets/{dataset_id}")
    assert problem(refused, 409, "dataset_in_use")["components"] == [child, grandchild]
    receipt = delete(service, f"datasets/{dataset_id}?cascade=true")
    assert_nothing_is_left(service, [child, grandchild, dataset_id], receipt)


def test_an_imported_one_goes_with_whatever_has_the_hash_of_an_ancestor(service, serve: Serve):
    a, b = parents(service)
    child = derived(service, "ties", a)
    grandchild = derived(service, "ties", child, b)
    files = {
        each: service.client.get(f"/v1/components/{each}/delta").content for each in (a, grandchild)
    }
    other = serve()
    brought = imported(other, files[grandchild]).json()["id"]
    further = derived(other, "pcb", brought)
    ancestor = imported(other, files[a]).json()["id"]  # after what descends from it
    unrelated = imported(other, service.client.get(f"/v1/components/{b}/delta").content)
    preview = other.client.get(f"/v1/components/{ancestor}/deletion-preview").json()
    assert preview["derived"] == sorted([brought, further])
    receipt = delete(other, f"components/{ancestor}")
    assert_nothing_is_left(other, [brought, further, ancestor], receipt)
    rows = other.client.get("/v1/components").json()["data"]
    assert [row["id"] for row in rows] == [unrelated.json()["id"]]


def test_of_twins_with_the_same_file_only_the_parent_takes_its_child_along(service):
    dataset_id = service.dataset({"cat": 3, "dog": 3})
    one, two = (service.train(service.queued(dataset_id)) for _ in range(2))
    assert sha(service, one) == sha(service, two)
    child = derived(service, "ties", one)
    delete(service, f"components/{two}")
    assert service.client.get(f"/v1/components/{child}").status_code == 200
    delete(service, f"components/{one}")
    assert service.client.get(f"/v1/components/{child}").status_code == 410


def test_a_derivation_under_way_is_never_published_once_a_parent_is_gone(service):
    a, b = parents(service)
    child = queued(service, "ties", a, b)
    with transaction(service.state.sessions) as session:
        components.start(session, child, executor_id="test")
    delete(service, f"components/{a}")

    values = {"blob_key": "k", "sha256": "s", "bytes": 1, "labels": {"cat": 4}, "metrics": {}}
    with transaction(service.state.sessions) as session:
        assert not components.publish(session, child, **values)
    problem(service.client.get(f"/v1/components/{child}"), 410, "component_deleted")


def test_derivations_asked_for_while_their_parent_is_deleted_never_outlive_it(either):
    service = either
    a, b = parents(service)
    child = derived(service, "ties", a, b)
    body = {"operator": "ties", "parents": [{"id": child}, {"id": b}]}

    def post(_: int) -> int:
        url = f"{service.url}/v1/components/derive"
        return httpx.post(url, json=body, timeout=60, trust_env=False).status_code

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(post, number) for number in range(9)]
        receipt = delete(service, f"components/{a}")
        asked += [pool.submit(post, number) for number in range(9)]
        answers = [each.result() for each in asked]

    assert set(answers) <= {202, 410} and answers[-1] == 410
    ids = [each["id"] for each in receipt["body"]["subjects"]]
    assert len(ids) == 2 + answers.count(202)
    assert_nothing_is_left(service, ids, receipt)
    assert [r["id"] for r in service.client.get("/v1/components").json()["data"]] == [b]


def test_after_the_deletion_it_is_as_if_there_had_been_neither_parent_nor_child(serve: Serve):
    services = serve(), serve()
    for service in services:
        service.component({"cow": 3, "dog": 2})
    a = services[0].component({"cat": 4, "dog": 3})
    ids = [row["id"] for row in services[0].client.get("/v1/components").json()["data"]]
    derived(services[0], "ties", *ids)
    delete(services[0], f"components/{a}")

    told = []
    for service in services:
        (row,) = service.client.get("/v1/components").json()["data"]
        (key,) = service.state.blobs.keys("components")
        space = service.client.get("/v1/spaces/default").json()
        told.append((row["sha256"], service.state.blobs.path(key).read_bytes(), space["labels"]))
    assert told[0] == told[1]


def test_descendants_of_nothing_or_of_the_childless_are_none(service):
    a, _ = parents(service)
    with transaction(service.state.sessions) as session:
        assert lineage.descendants(session, []) == []
        assert lineage.descendants(session, [a, "cmp_unknown"]) == []
