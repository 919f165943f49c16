"""Bounds of the OpenAPI document are the service's: what is at one passes, the next does not."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.bounds import Bound, bounds, changed, places, resolved
from tests.support.images import archive, image
from tests.support.service import Service

SCOPE = "head"
FILES = {
    "/v1/datasets": {"file": ("a.zip", archive({"cat": 1}))},
    "/v1/datasets/{dataset_id}/images": {"file": ("a.zip", archive({"cat": 1}))},
    "/v1/components/import": {"file": ("a.safetensors", b"none")},
    "/v1/batch-predictions": {"file": ("a.zip", archive({"cat": 1}))},
    "/v1/images/search": {"image": ("a.png", image("cat", 1))},
    "/v1/predictions": {"images": ("a.png", image("cat", 1))},
}
QUERIES = {  # what an operation needs
    "/v1/receipts/consistency": {"first": "0"},
    "/v1/images": {"sha256": "0" * 64},
}
REFUSALS = {  # codes of values that a schema does not take; others tell of what is there
    *("invalid_request", "invalid_idempotency_key", "bad_etag", "unknown_operator", "bad_label"),
    *(
        "bad_hyperparameter",
        "unknown_scope",
        "too_many_images",
        "too_many_labels",
        "too_many_components",
    ),
}
JSON, FORM = "application/json", "multipart/form-data"


@pytest.fixture(scope="module")
def guarded(shared: Service) -> Iterator[Service]:
    """The shared service with a key that stays, as the bounds of keys make others."""
    answer = shared.client.post("/v1/keys", json={"name": "k", "scopes": ["admin"]})
    shared.client.headers["Authorization"] = f"Bearer {answer.json()['key']}"
    yield shared
    del shared.client.headers["Authorization"]


@pytest.fixture(scope="module")
def document(guarded: Service) -> dict[str, Any]:
    return guarded.client.get("/openapi.json").json()


class Operation:
    """An operation of the document, and a request that it takes."""

    def __init__(self, document: dict[str, Any], method: str, path: str) -> None:
        self.method, self.path, self.schemas = method, path, document["components"]["schemas"]
        described = document["paths"][path][method]
        self.parameters = described.get("parameters", [])
        content = described.get("requestBody", {}).get("content", {})
        self.body = content[JSON]["schema"] if JSON in content else None
        self.form = content[FORM]["schema"] if FORM in content else None
        self.example = resolved(self.body, self.schemas)["example"] if self.body else None

    def send(self, client: httpx.Client, **changes: Any) -> httpx.Response:
        """Send the request with other parts: ids, query, headers, json or data."""
        ids = {
            each["name"]: "none" for each in self.parameters if each["in"] == "path"
        } | changes.pop("ids", {})
        address = self.path.format(**{name: _quoted(value) for name, value in ids.items()})
        request: dict[str, Any] = {"params": QUERIES.get(self.path, {}) | changes.pop("query", {})}
        if self.path in FILES and "json" not in changes:
            request["files"] = FILES[self.path]
        elif self.example is not None:
            request["json"] = self.example
        if self.path == "/v1/spaces" and request.get("json", changes.get("json")) is not None:
            changes["json"] = self._of_a_new_name(changes.get("json", request.get("json")))
        return client.request(self.method, address, **request | changes)

    def _of_a_new_name(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body with another name than before: a taken one is refused before the rest."""
        assert self.example is not None
        taken = body.get("name") == self.example["name"]
        return body | ({"name": f"space-{uuid4().hex}"} if taken else {})


def _quoted(text: str) -> str:
    return str(httpx.URL("http://x/").copy_with(path=f"/{text}").raw_path[1:], "ascii")


def operations(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(document, method, path)
        for path, methods in document["paths"].items()
        for method in methods
    ]


def check(answer: httpx.Response, bound: Bound, where: str) -> None:
    """Check that the service takes the value as the schema does."""
    told = f"{answer.status_code} {answer.text[:300]}"
    said = f"{where}: {bound.what}: {str(bound.value)[:60]!r}: {told}"
    refused = answer.status_code in (400, 422) and answer.json()["code"] in REFUSALS
    assert refused is not bound.inside, said
    assert answer.status_code < 500, said


def test_parameters_are_held_to_their_bounds(guarded, document):
    sent = 0
    for operation in operations(document):
        for parameter in operation.parameters:
            name, kind = parameter["name"], parameter["in"]
            where = f"{operation.method} {operation.path} {name}"
            for bound in bounds(parameter["schema"], operation.schemas, text=True):
                if part := _part(kind, name, bound.value):
                    if (operation.path, name) == ("/v1/batch-predictions", "split"):
                        part["json"] = operation.example  # of a dataset: an archive has no splits
                    check(operation.send(guarded.client, **part), bound, where)
                    sent += 1
    assert sent > 150  # the walk goes somewhere


def _part(kind: str, name: str, value: Any) -> dict[str, Any] | None:
    """Return the changes that put the value there; None if HTTP has no such value there."""
    text = str(value)
    if kind == "path":
        return {"ids": {name: text}} if text.strip() else None
    if kind == "header":
        return {"headers": {name: text.encode("latin-1")}} if text == text.strip() else None
    return {"query": {name: text}}


def test_members_of_json_bodies_are_held_to_their_bounds(guarded, document):
    sent = 0
    for operation in operations(document):
        if operation.body is None:
            continue
        for place, schema in places(operation.body, operation.schemas):
            where = f"{operation.method} {operation.path} {place}"
            for bound in bounds(schema, operation.schemas):
                body = changed(operation.example, place, bound.value)
                if body is not None:
                    check(operation.send(guarded.client, json=body), bound, where)
                    sent += 1
    assert sent > 200


def test_json_bodies_have_their_members_and_no_others(guarded, document):
    for operation in operations(document):
        if operation.body is None:
            continue
        schema = resolved(operation.body, operation.schemas)
        where = f"{operation.method} {operation.path}"
        assert schema["additionalProperties"] is False, where
        more = operation.send(guarded.client, json=operation.example | {"no_such": 1})
        check(more, Bound("no_such", False, "additionalProperties"), where)
        for name in schema["properties"]:
            less = {key: value for key, value in operation.example.items() if key != name}
            optional = name not in schema.get("required", ())
            answer = operation.send(guarded.client, json=less)
            check(answer, Bound(name, optional, "required"), where)


def test_fields_of_forms_are_held_to_their_bounds(guarded, document):
    for operation in operations(document):
        if operation.form is None:
            continue
        for name, schema in resolved(operation.form, operation.schemas)["properties"].items():
            for bound in bounds(schema, operation.schemas, text=True):
                if bound.value == "":
                    continue  # a form's field that nobody filled in
                answer = operation.send(guarded.client, data={name: str(bound.value)})
                check(answer, bound, f"{operation.method} {operation.path} form {name}")


def test_neither_parameters_nor_forms_can_be_null(document):
    for operation in operations(document):
        schemas = [each["schema"] for each in operation.parameters]
        if operation.form is not None:
            form = resolved(operation.form, operation.schemas)
            schemas += form["properties"].values()
        assert '"null"' not in json.dumps(schemas), operation.path


def test_bounds_from_the_settings_are_in_the_document(serve: Callable[..., Service]):
    service = serve(max_prediction_images=3, max_labels=5, max_components=7)
    schemas = service.client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["PredictionIn"]["properties"]["images"]["maxItems"] == 3
    assert schemas["SpaceIn"]["properties"]["labels"]["maxItems"] == 5
    assert '"maxItems": 7' in json.dumps(schemas["CompositionIn"])
    assert '"maxItems": 5' in json.dumps(schemas["PrivacyIn"])
