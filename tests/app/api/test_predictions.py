"""Predictions: three ways to send an image give one answer, equal to `tangent`'s own."""

import base64
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest
import torch

import tangent
from tangent_composer.schemas.answers import PredictionOut
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

PNG = {"Content-Type": "image/png"}
# What may be null in an answer; all else is left out if there is none.
NULLS = {
    *("calibration", "composition", "dataset_id", "dataset_images", "joint", "label"),
    *("no_novelty", "no_temperature", "privacy", "refinement", "temperature"),
}


def without_timing(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    document = answer.json()
    del document["timing"]
    return document


def test_the_three_forms_have_one_answer(two: TwoComponents) -> None:
    picture = image("cow", 90)
    form = without_timing(two.post(picture, top_k="3"))
    raw = two.service.client.post("/v1/predictions?top_k=3", content=picture, headers=PNG)
    encoded = [{"b64": base64.b64encode(picture).decode()}]
    body = {"images": encoded, "top_k": 3}
    assert form == without_timing(raw)
    assert form == without_timing(two.service.client.post("/v1/predictions", json=body))
    assert form["results"][0]["predictions"][0]["label"] == "cow"
    assert len(form["results"][0]["predictions"]) == 3


def expected(
    two: TwoComponents,
    tmp_path: Path,
    pictures: list[bytes],
    rule: str,
    weights: list[float | None],
) -> tuple[tuple[str, ...], torch.Tensor]:
    """Return labels and logits by `tangent` alone, from component files that a client downloads."""
    space = tangent.open_space("resnet_micro_32", "head2toe")
    parts, shas = [], []
    for number, component_id in enumerate((two.pets, two.stock)):
        path = tmp_path / str(number)
        answer = two.service.client.get(f"/v1/components/{component_id}/delta")
        path.write_bytes(answer.content)
        parts.append((tangent.Component.load(path), weights[number]))
        about = two.service.client.get(f"/v1/components/{component_id}").json()
        shas.append(about["sha256"])
    delta = tangent.compose(space, parts, rule, shas=shas)
    opened = [PIL.Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
    return delta.labels, space.logits(
        torch.stack([space.preprocess(each) for each in opened]), delta
    )


@pytest.mark.parametrize(
    ("rule", "weights"),
    [
        ("average", (None, None)),
        ("weighted", (0.25, -1.5)),
        ("joint", (None, 2.0)),
        ("discriminant", (None, 2.0)),
    ],
)
def test_the_answer_is_that_of_the_mathematics(
    two: TwoComponents, tmp_path: Path, rule: str, weights: tuple[float | None, float | None]
) -> None:
    pictures = [image(label, 91) for label in ("cat", "dog", "cow")]
    labels, logits = expected(two, tmp_path, pictures, rule, list(weights))
    members = [
        {"id": part} | ({} if weight is None else {"weight": weight})
        for part, weight in zip((two.pets, two.stock), weights, strict=True)
    ]
    answer = two.post(*pictures, components=json.dumps(members), rule=rule)
    assert answer.status_code == 200, answer.text
    temperature = answer.json()["calibration"]["temperature"]
    for row, result in zip(logits.double().tolist(), answer.json()["results"], strict=True):
        total = sum(math.exp(logit / temperature) for logit in row)
        best = sorted(zip(row, labels, strict=True), reverse=True)
        assert [(each["logit"], each["label"]) for each in result["predictions"]] == best
        for each in result["predictions"]:
            power = math.exp(each["logit"] / temperature)
            assert each["probability"] == pytest.approx(power / total, rel=1e-12)


def test_the_answer_says_what_it_was_made_from(two: TwoComponents) -> None:
    answer = two.post(image("cat", 90), rule="average")
    document = answer.json()
    space = two.service.client.get("/v1/spaces/default").json()
    assert (document["space"], document["fingerprint"]) == ("default", space["fingerprint"])
    assert (document["rule"], document["composition"]) == ("average", None)
    assert [part["id"] for part in document["components"]] == [two.pets, two.stock]
    assert [part["weight"] for part in document["components"]] == [0.5, 0.5]
    for part in document["components"]:
        about = two.service.client.get(f"/v1/components/{part['id']}").json()
        assert part["sha256"] == about["sha256"]
    phases = ["turn", "queue", "decode", "calibrate", "compose", "forward"]
    assert list(document["timing"]) == [f"{phase}_ms" for phase in phases]
    steps = [step.partition(";dur=")[0] for step in answer.headers["server-timing"].split(", ")]
    assert steps == phases


def test_the_first_answer_of_a_selection_tells_of_its_calibration(service: Service) -> None:
    service.component({"cat": 4, "dog": 4})
    first, second = (
        service.client.post("/v1/predictions", content=image("cat", 90), headers=PNG).json()
        for _ in range(2)
    )
    assert first["timing"]["calibrate_ms"] > 0
    assert second["timing"]["calibrate_ms"] == 0


def test_a_named_composition_answers_with_its_version(two: TwoComponents) -> None:
    body = {"rule": "average", "components": [{"id": two.pets}]}
    put = two.service.client.put("/v1/compositions/pets", json=body)
    document = two.post(image("cat", 90), composition="pets").json()
    assert document["composition"] == {"name": "pets", "etag": put.json()["etag"]}
    assert [part["id"] for part in document["components"]] == [two.pets]
    assert two.post(image("cat", 90), composition="pets", rule="joint").json()["rule"] == "joint"


def test_the_order_of_components_does_not_change_a_byte(two: TwoComponents) -> None:
    one = two.post(image("cat", 90), components=f"{two.pets},{two.stock}")
    other = two.post(image("cat", 90), components=f"{two.stock}, {two.pets}")
    assert without_timing(one) == without_timing(other)


def test_one_bad_image_does_not_spoil_the_others(two: TwoComponents) -> None:
    good = image("cat", 90)
    cut = image("dog", 90)[:200]
    results = two.post(good, b"no image", cut, b"", good).json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4]
    assert results[0]["predictions"] == results[4]["predictions"]
    for result in results[1:4]:
        assert "predictions" not in result
        assert result["error"]["code"] == "bad_image"
        assert result["error"]["status"] == 422
        assert result["error"]["request_id"]
    alone = two.post(good).json()["results"]
    assert [each["label"] for each in alone[0]["predictions"]] == [
        each["label"] for each in results[0]["predictions"]
    ]


def test_when_all_images_are_bad_each_one_says_so(two: TwoComponents) -> None:
    answer = two.post(b"x", b"y")
    assert answer.status_code == 200
    assert [each["error"]["code"] for each in answer.json()["results"]] == ["bad_image"] * 2
    raw = two.service.client.post("/v1/predictions", content=b"x", headers=PNG)
    assert raw.json()["results"][0]["error"]["code"] == "bad_image"
    encoded = [{"b64": "%%%"}, {"b64": ""}, {"b64": "QUJD"}]
    bad = two.service.client.post("/v1/predictions", json={"images": encoded}).json()["results"]
    assert [each["error"]["code"] for each in bad] == ["bad_base64", "bad_image", "bad_image"]


def test_labels_asked_for_are_ranked_among_themselves(two: TwoComponents) -> None:
    everything = two.ask(top_k=10).json()["results"][0]["predictions"]
    some = two.ask(labels=["hen", "cat"]).json()["results"][0]["predictions"]
    assert {each["label"] for each in some} == {"hen", "cat"}
    logits = {each["label"]: each["logit"] for each in everything}
    assert {each["label"]: each["logit"] for each in some} == {
        label: logits[label] for label in ("hen", "cat")
    }
    assert sum(each["probability"] for each in some) == pytest.approx(1)
    as_text = two.post(image("cat", 90), labels="cat,hen").json()["results"][0]["predictions"]
    assert as_text == some
    document = problem(two.ask(labels=["cat", "yak"]), 422, "unknown_label")
    assert document["labels"] == ["yak"] and "cat, cow, dog, hen" in document["detail"]


def test_probabilities_are_over_all_ranked_labels_however_few_are_shown(two: TwoComponents) -> None:
    (best,) = two.ask(top_k=1).json()["results"][0]["predictions"]
    everything = two.ask().json()["results"][0]["predictions"]
    assert best == everything[0]
    assert sum(each["probability"] for each in everything) == pytest.approx(1)
    assert everything == sorted(everything, key=lambda each: -each["probability"])


def test_only_what_is_asked_for_is_returned(two: TwoComponents) -> None:
    for wanted, keys in (
        ("logits", {"label", "logit"}),
        ("probabilities", {"label", "probability"}),
    ):
        (first, *_) = two.ask(**{"return": [wanted]}).json()["results"][0]["predictions"]
        assert set(first) == keys
    problem(two.ask(**{"return": ["everything"]}), 422, "invalid_request")


def test_predictions_are_counted(two: TwoComponents) -> None:
    def counted(outcome: str) -> float:
        name = f'tangent_predictions_total{{outcome="{outcome}"}} '
        lines = two.service.client.get("/metrics").text.splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    good, bad = counted("ok"), counted("error")
    two.post(image("cat", 1), image("cat", 2), b"x")
    assert (counted("ok") - good, counted("error") - bad) == (2, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"return": "probabilities,logits,novelty", "abstain_below": "1000"},
        {"return": "logits"},
        {"return": "contributions,leave_one_out"},
        {"return": "contributions,leave_one_out,directions,logits", "rule": "average"},
        {"rule": "weighted", "components": "PETS"},
    ],
    ids=str,
)
def test_an_answer_is_what_its_schema_would_write(
    two: TwoComponents, fields: dict[str, str]
) -> None:
    if fields.get("components") == "PETS":
        fields = fields | {"components": json.dumps([{"id": two.pets, "weight": 2}])}
    answer = two.post(image("cow", 90), b"no image", **fields)
    assert answer.status_code == 200, answer.text
    document = PredictionOut.model_validate_json(answer.text, strict=True)
    assert answer.text == document.model_dump_json(exclude_unset=True)
    assert set(re.findall(r'"(\w+)":null', answer.text)) <= NULLS
