"""Refinements over HTTP: a joint composition at a block scope becomes the pooled optimum."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

import tangent
from app.database.sessions import transaction
from app.datasets import datasets
from app.store import components, spaces
from tangent.composition.refine import refine
from tests.support.client import WAIT
from tests.support.merging import imported, logits, made, predict, show
from tests.support.problems import problem
from tests.support.refinements import ask, refined, stocked
from tests.support.service import Service
from tests.support.trainings import Pixels


@pytest.fixture
def blocks(service: Service) -> Service:
    """A service with a space at a block scope and two components in it."""
    return stocked(service, {"cat": 4, "dog": 4}, {"cow": 5, "dog": 3})


def file_of(service: Service, component_id: str) -> bytes:
    return service.client.get(f"/v1/components/{component_id}/delta").content


def pooled(service: Service, ids: list[str]) -> tangent.composition.refine.Refined:
    """Return the joint optimum by `tangent` alone, from the uploaded images."""
    state, parts = service.state, []
    with transaction(state.reading) as session:
        space = state.engine.opened(state.spaces.key(spaces.get(session, "blocks")))
        for row in sorted((components.get(session, each) for each in ids), key=lambda r: r.sha256):
            dataset = datasets.get(session, row.dataset_id)
            rows = datasets.rows(session, dataset.id)
            files = [(each.label, datasets.read(state.blobs, dataset, each)) for each in rows]
            component = tangent.Component.load(state.blobs.path(row.blob_key))
            parts.append((component, None, Pixels(space, files, service.settings)))
    with TemporaryDirectory() as scratch:
        return refine(space, parts, scratch=Path(scratch))


def test_a_joint_answer_is_in_one_shot_at_first_and_refined_when_that_is_ready(blocks):
    first = ask(blocks)
    assert first["joint"] == "one_shot"
    assert first["refinement"]["status"] == "queued"
    assert ask(blocks)["refinement"] == first["refinement"]  # queued once

    row = show(blocks, first["refinement"]["id"])
    assert row["derived"]["operator"] == "refine" and row["derived"]["automatic"]
    made(blocks, row["id"])
    assert show(blocks, row["id"])["metrics"]["passes"] > 0

    second = ask(blocks)
    assert second["joint"] == "refined"
    assert second["refinement"] == {"id": row["id"], "status": "ready"}
    assert second["components"] == first["components"]
    assert second["results"] != first["results"]


def test_a_refined_answer_is_the_joint_optimum_of_the_images(blocks):
    refined(blocks)
    expected = pooled(blocks, blocks.made)
    found = tangent.Component.load(stored(blocks, ask(blocks)["refinement"]["id"]))
    assert found.head_labels == expected.labels
    assert torch.equal(found.head, expected.head)
    for name, value in expected.backbone.items():
        assert torch.equal(found.backbone[name], value)


def stored(service: Service, component_id: str) -> Path:
    with transaction(service.state.reading) as session:
        return service.state.blobs.path(components.get(session, component_id).blob_key)


def test_deleting_a_member_takes_the_refinement_and_leaves_what_never_having_it_gives(
    blocks, serve
):
    counts = {"hen": 4, "owl": 3}
    third = blocks.component(counts, space="blocks")
    whole = refined(blocks)
    gone = whole["refinement"]["id"]

    receipt = blocks.client.delete(f"/v1/components/{third}").json()

    assert {"kind": "component", "id": gone} in receipt["body"]["subjects"]
    assert blocks.client.get(f"/v1/components/{gone}").status_code == 410
    after = ask(blocks)
    assert after["joint"] == "one_shot" and after["refinement"]["id"] != gone
    again = refined(blocks)
    never = stocked(serve(), {"cat": 4, "dog": 4}, {"cow": 5, "dog": 3})
    other = refined(never)
    assert logits_of(again) == logits_of(other)
    assert file_of(blocks, again["refinement"]["id"]) == file_of(never, other["refinement"]["id"])
    verified = blocks.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
    assert verified["ok"], verified


def logits_of(answer: dict[str, Any]) -> list[Any]:
    return [result["predictions"] for result in answer["results"]]


def test_what_is_asked_for_once_is_not_refined_but_finds_what_is_there(blocks):
    chosen = [{"id": each} for each in blocks.made]
    assert ask(blocks, components=chosen)["refinement"] is None
    whole = refined(blocks)
    once = ask(blocks, components=chosen)
    assert once["joint"] == "refined" and logits_of(once) == logits_of(whole)
    other = ask(blocks, components=[chosen[0], chosen[1] | {"weight": 2.0}])
    assert other["joint"] == "one_shot" and other["refinement"] is None


def test_a_named_composition_is_refined_with_its_weights_and_anew_when_they_change(blocks):
    def put(*weights: float) -> None:
        parts = [{"id": c, "weight": w} for c, w in zip(blocks.made, weights, strict=True)]
        body = {"space": "blocks", "rule": "joint", "components": parts}
        assert blocks.client.put("/v1/compositions/two", json=body).status_code in (200, 201)

    def answer() -> dict[str, Any]:
        found = predict(blocks, composition="two")
        assert found.status_code == 200, found.text
        return found.json()

    put(1.0, 2.0)
    first = answer()["refinement"]["id"]
    assert [each["weight"] for each in show(blocks, first)["derived"]["parents"]] == [1.0, 2.0]
    made(blocks, first)
    path = stored(blocks, first)
    assert answer()["joint"] == "refined"
    put(1.0, 3.0)
    second = answer()
    assert second["joint"] == "one_shot" and second["refinement"]["id"] != first
    assert show(blocks, first)["status"] == "cancelled" and not path.exists()
    assert first not in listed(blocks)
    put(1.0, 3.0)  # the same again
    assert answer()["refinement"] == second["refinement"]
    assert blocks.client.delete("/v1/compositions/two").status_code == 204
    assert show(blocks, second["refinement"]["id"])["status"] == "cancelled"


def listed(service: Service) -> list[str]:
    found = service.client.get("/v1/components", params={"limit": 100}).json()
    return [each["id"] for each in found["data"]]


def test_a_refinement_that_is_replaced_while_it_trains_has_ended_and_is_counted(blocks):
    first = ask(blocks)["refinement"]["id"]
    with transaction(blocks.state.sessions) as session:
        components.start(session, first, executor_id="w")
    blocks.component({"hen": 4, "owl": 3}, space="blocks")
    assert ask(blocks)["refinement"]["id"] != first

    replaced = show(blocks, first)

    assert replaced["status"] == "cancelled"
    assert replaced["started_at"] < replaced["finished_at"]
    metrics = blocks.client.get("/metrics")
    assert metrics.status_code == 200, metrics.text
    counted = 'tangent_training_duration_seconds_gcount{outcome="cancelled"} 1.0'
    assert counted in metrics.text.splitlines()


def test_a_replaced_refinement_counts_no_bytes(blocks):
    first = refined(blocks)["refinement"]["id"]
    blocks.component({"hen": 4, "owl": 3}, space="blocks")
    ask(blocks)
    assert show(blocks, first)["status"] == "cancelled"

    text = blocks.client.get("/metrics").text

    held = sum(row["bytes"] or 0 for each in listed(blocks) if (row := show(blocks, each)))
    counted = re.search(r"^tangent_component_bytes (\S+)$", text, re.MULTILINE)
    assert counted is not None and float(counted[1]) == held


def test_a_deletion_finds_what_a_replaced_refinement_was_used_for(blocks):
    dataset = blocks.dataset({"cat": 2, "cow": 2}, start=50)
    first = refined(blocks)["refinement"]["id"]
    asked = {"dataset_id": dataset, "rule": "average", "components": [{"id": first}]}
    evaluation = blocks.client.post("/v1/evaluations", json=asked, headers=WAIT).json()["id"]
    blocks.component({"hen": 4, "owl": 3}, space="blocks")
    assert ask(blocks)["refinement"]["id"] != first
    scratch = blocks.state.blobs.scratch_path(first)
    scratch.mkdir()  # as a killed worker leaves it, with activations of all members' images

    receipt = blocks.client.delete(f"/v1/components/{blocks.made[0]}").json()

    assert {"kind": "component", "id": first} in receipt["body"]["subjects"]
    left = blocks.client.get(f"/v1/evaluations/{evaluation}").json()
    assert left["status"] == "invalidated" and left["accuracy"] is None
    assert not scratch.exists()


def test_a_refinement_of_few_passes_does_not_serve(blocks):
    parents = [{"id": each} for each in blocks.made]
    body = {"operator": "refine", "parents": parents, "parameters": {"passes": 1}}
    short = blocks.client.post("/v1/components/derive", json=body).json()["id"]
    made(blocks, short)
    answer = ask(blocks)
    assert answer["joint"] == "one_shot" and answer["refinement"]["id"] != short
    body["parameters"]["passes"] = 12
    made(blocks, blocks.client.post("/v1/components/derive", json=body).json()["id"])
    assert ask(blocks)["joint"] == "refined"


def test_a_replaced_refinement_stays_if_a_client_uses_it(blocks):
    first = refined(blocks)["refinement"]["id"]
    body = {"space": "blocks", "rule": "average", "components": [{"id": first}]}
    assert blocks.client.put("/v1/compositions/kept", json=body).status_code == 201
    blocks.component({"hen": 4, "owl": 3}, space="blocks")
    assert ask(blocks)["refinement"]["id"] != first
    assert show(blocks, first)["status"] == "ready"


def test_an_answer_that_is_taken_apart_is_the_one_shot_answer(blocks):
    refined(blocks)
    parts = ask(blocks, **{"return": ["logits", "contributions"], "top_k": 3})
    assert parts["joint"] == "one_shot" and parts["refinement"] is None
    for result in parts["results"]:
        for each in result["predictions"]:
            shares = result["contributions"]
            total = shares["base"][each["label"]] + sum(
                part["logits"][each["label"]] for part in shares["components"]
            )
            assert total == pytest.approx(each["logit"], abs=1e-4)


def test_without_a_members_images_the_one_shot_answer_stays(blocks):
    data = file_of(blocks, blocks.made[0])
    blocks.client.delete(f"/v1/components/{blocks.made[0]}")
    assert imported(blocks, data).status_code == 201
    answer = ask(blocks)
    assert answer["joint"] == "one_shot" and answer["refinement"] is None


def test_a_cancelled_refinement_is_not_queued_again(blocks):
    first = ask(blocks)["refinement"]["id"]
    assert blocks.client.post(f"/v1/components/{first}/cancel").status_code == 200
    assert ask(blocks)["refinement"] == {"id": first, "status": "cancelled"}


def test_an_evaluation_says_how_near_its_answers_were(blocks):
    dataset = blocks.dataset({"cat": 2, "cow": 2}, start=50)
    asked = {"dataset_id": dataset, "space": "blocks", "rule": "joint"}
    assert (
        blocks.client.post("/v1/evaluations", json=asked, headers=WAIT).json()["joint"]
        == "one_shot"
    )
    refined(blocks)
    assert (
        blocks.client.post("/v1/evaluations", json=asked, headers=WAIT).json()["joint"] == "refined"
    )


def test_where_joint_is_exact_there_is_nothing_to_refine(service):
    ids = [service.component({"cat": 3}), service.component({"dog": 3})]
    answer = predict(service, rule="joint").json()
    assert answer["joint"] == "exact" and answer["refinement"] is None
    assert len(logits(predict(service, rule="joint"))) == 3
    refusal = service.client.post(
        "/v1/components/derive",
        json={"operator": "refine", "parents": [{"id": each} for each in ids]},
    )
    problem(refusal, 422, "nothing_to_refine")
    assert predict(service, rule="average").json()["joint"] is None


def test_a_refinement_lives_and_goes_alike_on_each_database(either):
    service = stocked(either, {"cat": 3, "dog": 3}, {"cow": 3, "dog": 3})
    body = {"space": "blocks", "rule": "joint", "components": "all"}
    assert service.client.put("/v1/compositions/all", json=body).status_code == 201
    first = refined(service)["refinement"]["id"]
    named = predict(service, composition="all").json()
    assert named["joint"] == "refined" and named["refinement"]["id"] == first
    third = service.component({"hen": 3, "owl": 3}, space="blocks")
    second = ask(service)["refinement"]["id"]
    assert second != first and first not in listed(service) and second in listed(service)
    receipt = service.client.delete(f"/v1/components/{third}").json()
    assert service.client.delete("/v1/compositions/all").status_code == 204
    gone = {each["id"] for each in receipt["body"]["subjects"]}
    assert gone == {third, second}
    assert service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]
    assert ask(service)["joint"] == "one_shot"
