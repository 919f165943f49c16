"""Derived components over HTTP: queued, shown, used by name, exported and imported."""

import hashlib
import json

import httpx
import pytest
from safetensors import safe_open

from tangent.composition.merging import METHODS
from tests.support.merging import ask, by_name, derived, logits, predict, queued, show
from tests.support.problems import problem
from tests.support.service import Service

UNKNOWN = "cmp_000000000000000000000000"
BLOCKS = {"name": "blocks", "backbone": "resnet_micro_32", "scope": "last-block"}


@pytest.fixture(scope="module")
def pets(shared: Service) -> str:
    return shared.component({"cat": 4, "dog": 3})


@pytest.fixture(scope="module")
def stock(shared: Service) -> str:
    return shared.component({"cow": 3, "dog": 2})


@pytest.fixture(scope="module")
def labelled(shared: Service) -> str:
    return shared.dataset({"cat": 3, "cow": 3, "dog": 3, "emu": 2}, start=40)


def test_a_derivation_is_accepted_with_its_place_parents_and_resolved_parameters(
    shared, pets, stock
):
    answer = ask(
        shared, "ties", pets, (stock, 0.5), parameters={"density": 1}, metadata={"a": "b"}, seed=3
    )

    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/components/{body['id']}"
    assert (body["status"], body["name"], body["seed"]) == ("queued", "ties of 2", 3)
    assert body["derived"] == {
        "operator": "ties",
        "parameters": METHODS["ties"].resolve({"density": 1}),
        "parents": [
            {"id": pets, "sha256": show(shared, pets)["sha256"], "weight": None},
            {"id": stock, "sha256": show(shared, stock)["sha256"], "weight": 0.5},
        ],
        "automatic": False,
    }
    assert body["images"] == {"cat": 4, "cow": 3, "dog": 5} and body["labels"] == [*body["images"]]
    assert (body["dataset_id"], body["hyperparameters"]) == (None, {})
    assert body["metadata"] == {"a": "b"} and body["sha256"] is None
    assert show(shared, body["id"]) == body
    assert show(shared, pets)["derived"] is None


@pytest.mark.parametrize("operator", sorted(METHODS.keys() - {"refine"}))  # see test_refinements
def test_every_operator_makes_a_component_whose_file_says_where_it_comes_from(
    shared, pets, stock, labelled, operator, tmp_path
):
    wants = {"dataset_id": labelled} if METHODS[operator].dataset else {}
    component_id = derived(shared, operator, pets, stock, seed=5, **wants)

    row = show(shared, component_id)
    file = tmp_path / "c"
    file.write_bytes(shared.client.get(f"/v1/components/{component_id}/delta").content)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
    with safe_open(file, "pt") as opened:
        about = json.loads(opened.metadata()["tangent"])
    shas = sorted(show(shared, each)["sha256"] for each in (pets, stock))
    assert about["derived"] == {
        "operator": operator,
        "parameters": METHODS[operator].resolve({}),
        "parents": [{"sha256": sha, "weight": None} for sha in shas],
        "ancestors": shas,
    }
    assert about["seed"] == 5 and pets not in json.dumps(about)
    assert row["status"] == "ready" and row["dataset_id"] == wants.get("dataset_id")
    assert {label for each in logits(by_name(shared, component_id)) for label in each} == {
        *row["labels"]
    }


def test_the_same_inputs_in_another_order_give_the_same_file(shared, pets, stock):
    one = derived(shared, "dare", pets, (stock, 2.0), seed=1, parameters={"drop": 0.5})
    two = derived(shared, "dare", (stock, 2.0), pets, seed=1, parameters={"drop": 0.5})
    other = derived(shared, "dare", pets, (stock, 2.0), seed=2, parameters={"drop": 0.5})
    shas = [show(shared, each)["sha256"] for each in (one, two, other)]
    assert shas[0] == shas[1] != shas[2]


def test_a_sum_answers_as_the_weighted_composition_of_its_parents(shared, pets, stock):
    component_id = derived(
        shared, "task_arithmetic", (pets, 0.75), (stock, -1.5), parameters={"scale": 1}
    )
    weighted = [{"id": pets, "weight": 0.75}, {"id": stock, "weight": -1.5}]
    expected = logits(predict(shared, components=weighted, rule="weighted"))
    for one, other in zip(logits(by_name(shared, component_id)), expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_it_is_none_of_all_components(service):
    for counts in ({"cat": 4, "dog": 3}, {"cow": 3, "dog": 2}):
        service.component(counts)
    body = {"rule": "average", "components": "all"}
    assert service.client.put("/v1/compositions/all", json=body).status_code == 201
    ids = [row["id"] for row in service.client.get("/v1/components").json()["data"]]
    before = [predict(service).json(), predict(service, composition="all").json()]

    derived(service, "ties", *ids)

    after = [predict(service).json(), predict(service, composition="all").json()]
    for one, other in zip(before, after, strict=True):
        assert one["results"] == other["results"] and one["components"] == other["components"]


def test_alone_it_does_not_make_all_components(service):
    parent = service.component({"cat": 4, "dog": 3})
    assert by_name(service, derived(service, "ties", parent)).status_code == 200
    preview = service.client.get(f"/v1/components/{parent}/deletion-preview").json()
    assert preview["derived"] and preview["labels_gone"] == ["cat", "dog"]
    service.client.delete(f"/v1/components/{parent}")
    problem(predict(service), 409, "no_components")


def test_rule_joint_refuses_it_by_name(shared, pets):
    component_id = derived(shared, "ties", pets)
    members = [{"id": pets}, {"id": component_id}]

    refused = problem(by_name(shared, pets, component_id, rule="joint"), 422, "component_derived")
    assert refused["components"] == [component_id] and component_id in refused["detail"]
    body = {"rule": "joint", "components": members}
    put = shared.client.put("/v1/compositions/refused", json=body)
    assert problem(put, 422, "component_derived")["components"] == [component_id]
    put = shared.client.put("/v1/compositions/taken", json=body | {"rule": "average"})
    assert put.status_code == 201
    problem(predict(shared, composition="taken", rule="joint"), 422, "component_derived")
    assert predict(shared, composition="taken").status_code == 200


@pytest.mark.parametrize(
    ("given", "status", "code", "says"),
    [
        ({"operator": "soup"}, 422, "unknown_operator", "task_arithmetic"),
        ({"parameters": {"density": 2}}, 422, "bad_parameter", "density is 2"),
        ({"parameters": {"speed": 1}}, 422, "bad_parameter", "no parameter 'speed'"),
        ({"parents": []}, 422, "invalid_request", "/parents"),
        ({"parents": [{"id": UNKNOWN}]}, 404, "component_not_found", UNKNOWN),
        ({"parents": [{"id": "a", "weight": 1e101}]}, 422, "bad_derivation", "1e-100 to 1e+100"),
        ({"parents": [{"id": "a", "weight": 5e-324}]}, 422, "bad_derivation", "1e-100 to 1e+100"),
        ({"parents": [{"id": "a", "weight": "1"}]}, 422, "invalid_request", "/parents/0/weight"),
        ({"dataset_id": "ds_none"}, 422, "dataset_not_used", "leave dataset_id out"),
        ({"operator": "atlas"}, 422, "dataset_missing", "give a dataset_id"),
        ({"operator": "atlas", "dataset_id": "ds_none"}, 404, "dataset_not_found", "ds_none"),
        ({"seed": -1}, 422, "invalid_request", "/seed"),
        ({"colour": "red"}, 422, "invalid_request", "/colour"),
        ({"name": ""}, 422, "invalid_request", "/name"),
    ],
)
def test_what_cannot_be_derived_is_refused_with_the_reason(shared, pets, given, status, code, says):
    before = len(shared.client.get("/v1/components?limit=100").json()["data"])

    answer = ask(shared, **{"operator": "ties", "parents": [{"id": pets}]} | given)

    assert says in problem(answer, status, code)["detail"]
    assert len(shared.client.get("/v1/components?limit=100").json()["data"]) == before


def test_parents_that_do_not_fit_are_named(shared, pets):
    problem(ask(shared, "ties", pets, pets), 422, "component_repeated")
    problem(ask(shared, "ties", (pets, -1.0)), 422, "bad_derivation")
    waiting = queued(shared, "ties", pets)
    problem(ask(shared, "ties", waiting), 409, "component_not_ready")
    made = shared.client.post("/v1/spaces", json=BLOCKS | {"name": "others"})
    assert made.status_code == 201
    other = shared.component({"cat": 2}, space="others")
    assert (
        other in problem(ask(shared, "ties", pets, other), 422, "component_other_space")["detail"]
    )


def test_a_dataset_without_a_label_of_the_parents_is_refused(shared, pets):
    strange = shared.dataset({"yak": 2}, start=70)
    answer = ask(shared, "atlas", pets, dataset_id=strange)
    assert "cat, dog" in problem(answer, 422, "no_common_label")["detail"]


def test_a_repeated_idempotency_key_derives_once_and_a_late_one_nothing(service):
    parent = service.component({"cat": 3, "dog": 3})
    body = {"operator": "ties", "parents": [{"id": parent}]}
    headers = {"Idempotency-Key": "once"}

    def post() -> httpx.Response:
        return service.client.post("/v1/components/derive", json=body, headers=headers)

    first, second = post(), post()
    assert first.json() == second.json() and second.headers["Idempotent-Replayed"] == "true"
    assert len(service.client.get("/v1/components").json()["data"]) == 2
    receipt = service.client.delete(f"/v1/components/{parent}").json()
    late = problem(post(), 410, "idempotency_key_spent")
    assert late["receipt_id"] == receipt["id"]


def test_a_derived_component_without_its_job_does_not_come_into_being(service):
    parent = service.component({"cat": 3})

    class Broken:
        def enqueue(self, session, component_id):
            raise RuntimeError("no queue")

    with service.replaced(jobs=Broken()):
        answer = ask(service, "ties", parent)

    problem(answer, 500, "internal_error")
    assert [row["id"] for row in service.client.get("/v1/components").json()["data"]] == [parent]
