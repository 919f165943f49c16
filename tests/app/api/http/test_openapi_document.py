"""The document beyond the signatures of routes: its words, names, types and examples."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from app.main import create_app
from app.settings import Settings
from tangent_composer.schemas.problems import ProblemOut
from tests.support.images import archive, image
from tests.support.service import KEY_FREE, Service

FILE = Path(__file__).parents[4] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document(shared: Service) -> dict[str, Any]:
    return shared.client.get("/openapi.json").json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_field_and_parameter_is_described(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for member, described in schema.get("properties", {}).items():
            assert described.get("description"), f"{name}.{member}: see openapi_words.py"
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{name} {parameter['name']}: see openapi_words.py"
        form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data", {})
        for member, described in form.get("schema", {}).get("properties", {}).items():
            assert described.get("description"), f"{name} {member}"


def test_times_and_sizes_have_units(document: dict[str, Any]) -> None:
    units = {"bytes": "byte", "_ms": "millisecond", "seconds": "second"}
    for name, schema in document["components"]["schemas"].items():
        for member, described in schema.get("properties", {}).items():
            for end, unit in units.items():
                if member.endswith(end) and described.get("type") in ("integer", "number"):
                    assert unit in described["description"], f"{name}.{member}"


def test_names_are_words_and_titles_are_theirs(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]+", name) for name in schemas)
    assert {name: schema["title"] for name, schema in schemas.items()} == {n: n for n in schemas}
    assert not re.findall(r"'title': '(?!" + "|".join(schemas) + r")\w+', 'type'", str(schemas))


def test_every_file_has_the_format_of_one(document: dict[str, Any]) -> None:
    forms = ("DatasetUploadForm", "AddedImagesForm", "ComponentImportForm", "ImageSearchForm")
    for name in forms:
        properties = document["components"]["schemas"][name]["properties"]
        file = properties.get("file") or properties["image"]
        assert file["format"] == "binary" and file["contentMediaType"]


def test_examples_of_errors_are_problems_with_their_code(document: dict[str, Any]) -> None:
    for code, example in document["components"]["examples"].items():
        assert ProblemOut.model_validate(example["value"]).code == code
        assert HTTPStatus(example["value"]["status"]) >= 400
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            for each in (
                answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
            ):
                value = document["components"]["examples"][each]["value"]
                assert str(value["status"]) == status, (name, each)


def test_what_is_stored_as_it_is_has_the_members_that_are_documented(
    document: dict[str, Any], shared: Service
) -> None:
    ident = shared.component({"cat": 2, "dog": 2})
    shown = shared.client.get(f"/v1/components/{ident}").json()
    events = shared.client.get(f"/v1/components/{ident}/events").json()["data"]
    receipt = shared.client.delete(f"/v1/components/{ident}").json()
    for name, value in (
        ("Hyperparameters", shown["hyperparameters"]),
        ("Metrics", shown["metrics"]),
        ("ReceiptBody", receipt["body"]),
        ("ReceiptInvalidated", receipt["body"]["invalidated"]),
        *(("EventData", each["data"]) for each in events),
    ):
        schema = document["components"]["schemas"][name]
        assert value and set(value) <= set(schema["properties"]), name
        assert set(schema.get("required", ())) <= set(value), name


def test_a_parameter_beside_a_form_has_no_default_that_clients_would_send_twice(
    document: dict[str, Any],
) -> None:
    for parameter in document["paths"]["/v1/predictions"]["post"]["parameters"]:
        assert "default" not in parameter["schema"], parameter["name"]


def test_the_document_of_the_repository_is_that_of_the_code() -> None:
    """`make openapi` writes it again."""
    made = json.loads(json.dumps(create_app(Settings(**KEY_FREE)).openapi()))
    assert json.loads(FILE.read_text()) == made, "docs/openapi.json is old: run `make openapi`"


def filled(form: dict[str, Any]) -> dict[str, str]:
    """The values that Swagger UI fills into a form, for which there is an input: not for files."""
    samples: dict[str, Any] = {"string": "string", "integer": 2**63, "number": 0, "boolean": True}
    values = {
        name: field.get("default", field.get("example", samples.get(field["type"])))
        for name, field in form["properties"].items()
        if field.get("format") != "binary" and field["type"] != "array"
    }
    return {name: str(value).lower() for name, value in values.items()}


@pytest.mark.parametrize(
    ("path", "file", "status"),
    [
        ("/v1/datasets", "archive", 201),
        ("/v1/datasets/{dataset_id}/images", "archive", 200),
        ("/v1/batch-predictions", "archive", 202),
        ("/v1/predictions", "image", 200),
        ("/v1/images/search", "image", 200),
    ],
)
def test_a_form_works_with_the_values_that_the_page_fills_in(
    document: dict[str, Any], shared: Service, path: str, file: str, status: int
) -> None:
    if path in ("/v1/predictions", "/v1/batch-predictions"):
        shared.component({"cat": 2, "dog": 2})
    form = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]
    schema = form["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    (field,) = {"file", "image", "images"} & set(schema["properties"])
    data = archive({"cat": 2, "dog": 2}, 40) if file == "archive" else image("cat", 90)
    answer = shared.client.post(
        path.replace("{dataset_id}", shared.dataset({"cat": 1})),
        files={field: ("sent", data)},
        data=filled(schema),
    )
    assert answer.status_code == status, answer.text
    if path == "/v1/predictions":
        (result,) = answer.json()["results"]
        assert result["label"] in ("cat", "dog") and result.get("abstention") is None


def test_the_example_of_a_prediction_in_json_works_as_it_is(
    document: dict[str, Any], shared: Service
) -> None:
    shared.component({"cat": 2, "dog": 2})
    example = document["components"]["schemas"]["PredictionIn"]["example"]
    (result,) = shared.client.post("/v1/predictions", json=example).json()["results"]
    assert result["predictions"] and "error" not in result
