"""The documentation: complete, true to the routes, and readable without a network."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.service import Service

ROUTES = """
GET /v1/spaces
GET /v1/spaces/{name}
GET /v1/spaces/{name}/card
POST /v1/spaces
PATCH /v1/spaces/{name}
DELETE /v1/spaces/{name}
POST /v1/datasets
GET /v1/datasets
GET /v1/datasets/{dataset_id}
PATCH /v1/datasets/{dataset_id}
GET /v1/datasets/{dataset_id}/privacy
PUT /v1/datasets/{dataset_id}/privacy
GET /v1/compositions/{name}/privacy
GET /v1/datasets/{dataset_id}/images
POST /v1/datasets/{dataset_id}/images
GET /v1/datasets/{dataset_id}/images/{image_id}
DELETE /v1/datasets/{dataset_id}
DELETE /v1/datasets/{dataset_id}/images/{image_id}
PATCH /v1/datasets/{dataset_id}/images/{image_id}
POST /v1/datasets/{dataset_id}/images/delete
GET /v1/datasets/{dataset_id}/deletion-preview
GET /v1/datasets/{dataset_id}/images/{image_id}/deletion-preview
POST /v1/datasets/{dataset_id}/labels
GET /v1/datasets/{dataset_id}/label-report
GET /v1/images
POST /v1/images/search
POST /v1/components
POST /v1/components/import
POST /v1/components/derive
GET /v1/components
GET /v1/components/{component_id}
PATCH /v1/components/{component_id}
GET /v1/components/{component_id}/events
POST /v1/components/{component_id}/cancel
POST /v1/components/{component_id}/retrain
POST /v1/components/{component_id}/verify
GET /v1/components/{component_id}/delta
GET /v1/components/{component_id}/signature
GET /v1/components/{component_id}/deletion-preview
DELETE /v1/components/{component_id}
PUT /v1/compositions/{name}
GET /v1/compositions
GET /v1/compositions/{name}
PATCH /v1/compositions/{name}
DELETE /v1/compositions/{name}
POST /v1/compositions/{name}/solve
POST /v1/predictions
POST /v1/evaluations
GET /v1/evaluations
GET /v1/evaluations/{evaluation_id}
GET /v1/evaluations/{evaluation_id}/images
DELETE /v1/evaluations/{evaluation_id}
POST /v1/evaluations/{evaluation_id}/cancel
POST /v1/batch-predictions
GET /v1/batch-predictions
GET /v1/batch-predictions/{batch_prediction_id}
DELETE /v1/batch-predictions/{batch_prediction_id}
POST /v1/batch-predictions/{batch_prediction_id}/cancel
GET /v1/batch-predictions/{batch_prediction_id}/results
GET /v1/receipts
GET /v1/receipts/head
GET /v1/receipts/key
GET /v1/receipts/checkpoint
GET /v1/receipts/consistency
GET /v1/receipts/{receipt_id}
GET /v1/receipts/{receipt_id}/inclusion
POST /v1/receipts/{receipt_id}/verify
GET /v1/audit
GET /v1/keys
GET /v1/keys/{key_id}
POST /v1/keys
DELETE /v1/keys/{key_id}
GET /v1/limits
GET /v2
GET /v2/health/live
GET /v2/health/ready
GET /v2/models/{name}
GET /v2/models/{name}/ready
POST /v2/models/{name}/infer
GET /session
POST /session
DELETE /session
GET /livez
GET /readyz
GET /metrics
"""


@pytest.fixture(scope="module")
def document(shared: Service) -> dict[str, Any]:
    return shared.client.get("/openapi.json").json()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_route_is_documented(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert {name for name, _ in operations(document)} == set(ROUTES.split("\n")) - {""}


def test_every_operation_says_what_it_is(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    assert all(tag["description"] for tag in document["tags"])
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", name) for name in names)
    for name, operation in operations(document):
        assert set(operation["tags"]) <= tags, name
        assert operation["summary"] and operation["description"], name


def test_every_error_answer_is_the_problem(document: dict[str, Any]) -> None:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    for name, operation in operations(document):
        if "/v1/" not in name:
            continue
        for status, answer in operation["responses"].items():
            if status == "default" or status >= "400":
                (content,) = answer["content"].items()
                assert content[0] == "application/problem+json", (name, status)
                assert content[1]["schema"] == schema["schema"], (name, status)
                assert status in ("default", "404") or content[1]["examples"], (name, status)
    schemas = document["components"]["schemas"]
    assert {"type", "title", "status", "detail", "code"} <= set(schemas["Problem"]["properties"])
    assert "HTTPValidationError" not in schemas


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for name in re.findall(r"#/components/schemas/([^'\"]+)", str(document)):
        assert name in document["components"]["schemas"]


def test_requests_with_json_have_an_example_that_their_schema_takes(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            continue
        reference = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        schema = document["components"]["schemas"][reference]
        example = schema["example"]
        assert set(schema.get("required", [])) <= set(example) <= set(schema["properties"]), name


def test_the_key_is_documented_where_a_caller_is_asked_for(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for name, operation in operations(document):
        has_caller = "/v1/" in name or "/v2/models/" in name
        assert ("security" in operation) == has_caller, name
        if has_caller:
            refusals = {"401", "403", "429"} & set(operation["responses"])
            any_may = operation["x-required-scope"] == "any"  # so that no key lacks its scope
            assert refusals == {"401", "429"} | (set() if any_may else {"403"}), name


def test_the_scopes_of_a_key_are_documented_and_the_key_where_the_settings_have_one(
    document: dict[str, Any], serve: Callable[..., Service]
) -> None:
    upload = document["paths"]["/v1/datasets"]["post"]
    by_cookie = {"Session": [], "CsrfToken": []}
    assert upload["security"] == [{"ApiKey": []}, by_cookie, {}]
    assert upload["x-required-scope"] == "train"
    assert upload["description"].endswith("A key needs the scope `train`.")
    guarded = serve(api_key="correct-horse-battery").client.get("/openapi.json").json()
    assert guarded["paths"]["/v1/datasets"]["post"]["security"] == [
        {"ApiKey": []},
        by_cookie,
    ]


def test_a_prediction_is_documented_in_its_three_forms(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/predictions"]["post"]["requestBody"]["content"]
    images = {f"image/{kind}" for kind in ("jpeg", "png", "webp", "bmp", "gif", "tiff")}
    images.add("application/octet-stream")
    assert set(body) == {"multipart/form-data", "application/json"} | images
    assert "PredictionIn" in document["components"]["schemas"]


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_pages_load_nothing_from_elsewhere(shared: Service, page: str) -> None:
    html = shared.client.get(page).text
    loaded = re.findall(r"(?:src|href)=[\"']([^\"']+)[\"']", html)
    assert loaded
    for address in loaded:
        assert address.startswith("/") and not address.startswith("//"), address
        asset = shared.client.get(address)
        assert asset.status_code == 200 and asset.content, address
    assert "//cdn" not in html and "fonts.googleapis" not in html
    assert "/openapi.json" in html


def test_every_place_that_takes_a_rule_says_what_joint_is_the_optimum_of(
    document: dict[str, Any],
) -> None:
    schemas = document["components"]["schemas"]
    places = {
        name: schemas[name]["properties"][field]["description"]
        for name, field in (
            ("PredictionIn", "rule"),
            ("EvaluationIn", "rule"),
            ("CompositionIn", "rule"),
            ("SpaceIn", "default_rule"),
        )
    }
    operation = document["paths"]["/v1/predictions"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    places["form"] = form["properties"]["rule"]["description"]
    (query,) = [each for each in operation["parameters"] if each["name"] == "rule"]
    places["query"] = query["schema"]["description"]
    for name, text in places.items():
        assert "plain square loss (alpha = 1) on the pooled statistics" in text, name
        assert "whatever loss a component's own delta was trained with" in text, name
