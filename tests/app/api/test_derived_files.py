"""Files of derived components, exported and imported; derivations of imported parents."""

import json

import pytest
from safetensors import safe_open
from safetensors.torch import save

from tests.support.merging import ask, by_name, derived, imported, logits, predict, show
from tests.support.problems import problem
from tests.support.service import Service

BLOCKS = {"name": "blocks", "backbone": "resnet_micro_32", "scope": "last-block"}


@pytest.fixture(scope="module")
def pets(shared: Service) -> str:
    return shared.component({"cat": 4, "dog": 3})


@pytest.fixture(scope="module")
def stock(shared: Service) -> str:
    return shared.component({"cow": 3, "dog": 2})


def test_imported_elsewhere_it_is_the_same_component_and_still_says_where_it_comes_from(
    shared, pets, stock, serve
):
    component_id = derived(shared, "regmean", pets, (stock, 2.0), parameters={"alpha": 0.5})
    data = shared.client.get(f"/v1/components/{component_id}/delta").content
    other = serve()

    answer = imported(other, data)

    assert answer.status_code == 201, answer.text
    row, original = answer.json(), show(shared, component_id)
    same = ("sha256", "bytes", "labels", "images", "fingerprint", "hyperparameters", "seed")
    assert {key: row[key] for key in same} == {key: original[key] for key in same}
    parents = [each | {"id": None} for each in original["derived"]["parents"]]
    assert row["derived"]["operator"] == "regmean"
    assert row["derived"]["parameters"] == {"images": 256, "alpha": 0.5}
    assert sorted(row["derived"]["parents"], key=str) == sorted(parents, key=str)
    assert logits(by_name(other, row["id"])) == logits(by_name(shared, component_id))
    problem(predict(other), 409, "no_components")
    problem(by_name(other, row["id"], rule="joint"), 422, "component_derived")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"operator": "soup"}, "unknown_operator"),
        ({"parameters": {"density": 9}}, "bad_parameter"),
        ({"parents": []}, "bad_component"),
        ({"parents": [{"sha256": "a" * 64, "weight": 10**400}]}, "bad_component"),
        ({"more": "\ud800"}, "bad_component"),
    ],
)
def test_a_file_with_a_record_that_cannot_be_is_not_imported(shared, pets, tmp_path, change, code):
    component_id = derived(shared, "ties", pets)
    file = tmp_path / "c"
    file.write_bytes(shared.client.get(f"/v1/components/{component_id}/delta").content)
    with safe_open(file, "pt") as opened:
        about = json.loads(opened.metadata()["tangent"])
        tensors = {key: opened.get_tensor(key).clone() for key in opened.keys()}  # noqa: SIM118
    about["derived"] |= change

    data = save(tensors, {"tangent": json.dumps(about)})
    problem(imported(shared, data), 422, code)


def test_images_that_are_not_held_are_asked_forby_name(serve, service):
    assert service.client.post("/v1/spaces", json=BLOCKS).status_code == 201
    here = service.component({"cat": 3, "dog": 3}, space="blocks")
    other = serve()
    assert other.client.post("/v1/spaces", json=BLOCKS).status_code == 201
    data = service.client.get(f"/v1/components/{here}/delta").content
    there = imported(other, data).json()["id"]
    merged = derived(service, "ties", here)

    for operator in ("fisher", "kfac", "regmean"):
        refused = problem(ask(other, operator, there), 409, "parent_data_missing")
        assert refused["components"] == [there]
        refused = problem(ask(service, operator, here, merged), 409, "parent_data_missing")
        assert refused["components"] == [merged]
        assert show(service, derived(service, operator, here))["status"] == "ready"
    assert ask(other, "ties", there).status_code == 202
    assert ask(service, "dare", merged).status_code == 202


def test_at_linear_scopes_an_imported_parent_brings_what_is_needed(shared, pets, serve):
    data = shared.client.get(f"/v1/components/{pets}/delta").content
    other = serve()
    parent = imported(other, data).json()["id"]
    shas = [
        show(where, derived(where, "regmean", one))["sha256"]
        for where, one in ((shared, pets), (other, parent))
    ]
    assert shas[0] == shas[1]
