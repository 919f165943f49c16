"""Names and metadata are given with what they describe, and changed by merge patches."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.archives import archive
from tests.support.client import compose, predict
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.unlearning import delta
from tests.support.uploads import FILES, created, post, traces

SCOPE = "head"


def patch(service: Service, path: str, **change: Any) -> dict[str, Any]:
    answer = service.client.patch(f"/v1/{path}", json=change)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_patch_of_a_dataset_changes_its_name_and_metadata_and_nothing_else(either):
    before = created(either, data={"name": "north", "metadata": '{"a": "1", "b": "2"}'})
    path = f"datasets/{before['id']}"
    assert before["metadata"] == {"a": "1", "b": "2"}

    after = patch(either, path, name=" south ", metadata={"b": None, "c": "3", "none": None})

    assert after["metadata"] == {"a": "1", "c": "3"}
    of_the_upload = ("component", "duplicate_of")
    same = {key: value for key, value in before.items() if key not in of_the_upload}
    assert after == same | {"name": "south", "metadata": {"a": "1", "c": "3"}}
    assert either.client.get(f"/v1/{path}").json() == after
    assert either.client.get("/v1/datasets").json()["data"][0]["metadata"] == after["metadata"]
    assert patch(either, path) == after
    assert patch(either, path, metadata=None)["metadata"] == {}


def test_a_patch_of_a_component_touches_neither_its_file_nor_its_answers(service):
    component_id = service.component({"cat": 3, "dog": 3})
    path = f"components/{component_id}"
    before, file = service.client.get(f"/v1/{path}").json(), delta(service, component_id)
    answer = predict(service).json()

    after = patch(service, path, name="clinic", metadata={"contract": "17"})

    assert after == before | {"name": "clinic", "metadata": {"contract": "17"}}
    again = delta(service, component_id)
    assert (again.content, again.headers["etag"]) == (file.content, file.headers["etag"])
    assert predict(service).json()["results"] == answer["results"]
    receipt = service.client.delete(f"/v1/{path}").json()
    assert "clinic" not in json.dumps(receipt)
    problem(service.client.patch(f"/v1/{path}", json={"name": "x"}), 410, "component_deleted")


def test_metadata_of_a_composition_are_a_part_of_its_version(service):
    part = service.component({"cat": 3})
    made = compose(service, "all-sites", [part])
    answers = predict(service, composition="all-sites").json()["results"]
    url, stale = "/v1/compositions/all-sites", {"If-Match": f'"{made["etag"]}"'}

    answer = service.client.patch(url, json={"metadata": {"owner": "ward 3"}}, headers=stale)

    shown = answer.json()
    assert answer.headers["etag"] == f'"{shown["etag"]}"' != stale["If-Match"]
    changed = {"metadata", "etag", "updated_at"}
    assert {key for key in made if made[key] != shown[key]} == changed
    assert service.client.get(url, headers={"If-None-Match": stale["If-Match"]}).json() == shown
    assert predict(service, composition="all-sites").json()["results"] == answers
    again = service.client.patch(url, json={"metadata": {"owner": "x"}}, headers=stale)
    problem(again, 412, "composition_changed")
    assert patch(service, "compositions/all-sites", metadata=None)["etag"] == made["etag"]
    assert compose(service, "all-sites", [part], metadata={"a": "b"})["metadata"] == {"a": "b"}
    assert compose(service, "all-sites", [part])["metadata"] == {}


def test_of_patches_at_the_same_time_none_is_lost(either):
    path = f"datasets/{created(either)['id']}"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: patch(either, path, metadata={f"k{n}": "v"}), range(12)))
    shown = either.client.get(f"/v1/{path}").json()["metadata"]
    assert shown == {f"k{n}": "v" for n in range(12)}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": None}, "invalid_request"),
        ({"name": " "}, "invalid_request"),
        ({"sha256": "0" * 64}, "invalid_request"),
        ({"metadata": {"a": 1}}, "invalid_request"),
        ({"metadata": {"": "a"}}, "invalid_request"),
        ({"metadata": {"a": "v" * 513}}, "invalid_request"),
        ({"metadata": {f"k{n}": "v" for n in range(17)}}, "too_much_metadata"),
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(shared, change, code):
    path = f"/v1/datasets/{created(shared)['id']}"
    before = shared.client.get(path).json()
    problem(shared.client.patch(path, json={"name": "other"} | change), 422, code)
    assert shared.client.get(path).json() == before


def test_a_merge_patch_may_say_what_it_is(shared):
    path = f"/v1/datasets/{created(shared)['id']}"
    media_type = {"Content-Type": "application/merge-patch+json"}
    answer = shared.client.patch(path, content=b'{"metadata":{"a":"1"}}', headers=media_type)
    assert answer.json()["metadata"] == {"a": "1"}


def test_an_upload_takes_the_settings_of_its_training(service):
    fields = {
        "train": "true",
        "hyperparameters": '{"l2": 0.01, "beta": 3.0}',
        "seed": "7",
        "component_name": "clinic",
        "component_metadata": '{"run": "1"}',
        "metadata": '{"site": "north"}',
    }
    made = created(service, data=fields)
    component = made["component"]
    assert (made["metadata"], component["metadata"]) == ({"site": "north"}, {"run": "1"})
    assert (component["name"], component["seed"]) == ("clinic", 7)
    other = service.client.post(
        "/v1/components",
        json={"dataset_id": made["id"], "hyperparameters": {"l2": 0.01, "beta": 3.0}, "seed": 7},
    ).json()
    assert component["hyperparameters"] == other["hyperparameters"]
    mine, others = (delta(service, service.train(each["id"])) for each in (component, other))
    assert mine.content == others.content


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"hyperparameters": '{"l2": 0.1}'}, "not_trained"),
        ({"seed": "1"}, "not_trained"),
        ({"train": "true", "hyperparameters": '{"l3": 0.1}'}, "bad_hyperparameter"),
        ({"train": "true", "hyperparameters": '{"l2": "much"}'}, "bad_hyperparameter"),
        ({"train": "true", "hyperparameters": "{'l2': 0.1}"}, "invalid_request"),
        ({"train": "true", "hyperparameters": "[1]"}, "invalid_request"),
        ({"train": "true", "hyperparameters": '{"a":' * 4000}, "invalid_request"),
        ({"metadata": '{"a": 1}'}, "invalid_request"),
        ({"metadata": '{"a": "\\u0000"}'}, "invalid_request"),
        ({"metadata": json.dumps({str(n): "v" for n in range(17)})}, "invalid_request"),
    ],
)
def test_fields_are_checked_before_the_archive_is_read(service, fields, code):
    before = traces(service)
    problem(post(service, b"no archive at all", data=fields), 422, code)
    assert traces(service) == before


def test_the_same_upload_with_other_settings_is_another_request(service):
    key = {"Idempotency-Key": "once"}
    packed = archive(FILES)
    first = post(service, packed, data={"train": "true", "seed": "1"}, headers=key).json()
    again = post(service, packed, data={"train": "true", "seed": "1"}, headers=key).json()
    assert again["id"] == first["id"] and again["component"]["id"] == first["component"]["id"]
    other = post(service, packed, data={"train": "true", "seed": "2"}, headers=key)
    problem(other, 422, "idempotency_key_reused")
