"""Texts that a database or hash does not accept, NUL and lone surrogates, on both databases."""

import json
from typing import Any

import httpx
import pytest

from tangent_composer.schemas.texts import fault, faults
from tests.support.archives import archive as archive_of
from tests.support.images import archive, image
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"

HALF, NUL = "a\ud800b", "a\0b"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("text", ["", "cat", "Käfer", "🐈", "\x01\x7f", "\\u0000"])
def test_an_ordinary_text_has_no_fault(text: str) -> None:
    assert fault(text) is None


@pytest.mark.parametrize(
    ("text", "why"), [(NUL, "NUL"), (HALF, "half"), ("\udfff", "half")], ids=["nul", "half", "lone"]
)
def test_a_faulty_text_is_found_wherever_it_is(text: str, why: str) -> None:
    shown = text.encode(errors="replace").decode()
    for value, place in (
        (text, ()),
        ([1, text], (1,)),
        ({"a": [{}, {"b": text}], "c": "d"}, ("a", 1, "b")),
        ({"a": {text: 1}}, ("a", shown)),
    ):
        ((found, told),) = faults(value)
        assert found == place and why in told


def test_faults_are_found_however_deep_they_are() -> None:
    value: Any = [NUL, 0, HALF]
    for _ in range(50_000):
        value = [0, value]
    places = [place for place, _ in faults(value)]
    assert [len(place) for place in places] == [50_001, 50_001]
    assert [place[-2:] for place in places] == [(1, 0), (1, 2)]


def post(service: Service, path: str, body: Any) -> httpx.Response:
    """Post the body as JSON in ASCII, as Python and JavaScript write it."""
    method = "PUT" if path.startswith("compositions/") else "POST"
    return service.client.request(
        method, f"/v1/{path}", content=json.dumps(body).encode(), headers=JSON
    )


def refused(answer: httpx.Response, pointer: str) -> None:
    document = problem(answer, 422, "invalid_request")
    assert [each["pointer"] for each in document["errors"]] == [pointer]
    assert "NUL" in document["detail"] or "half of a character" in document["detail"]


@pytest.mark.parametrize("text", [NUL, HALF], ids=["nul", "half"])
def test_a_field_of_a_body_with_one_is_refused_at_its_place(either: Service, text: str) -> None:
    dataset = {"dataset_id": either.dataset({"cat": 2})}
    space = {"name": "new", "backbone": "resnet_micro_32", "scope": "head"}
    member = {"rule": "weighted", "components": [{"id": text, "weight": 1}]}
    shown = text.encode(errors="replace").decode()
    for path, body, pointer in (
        ("components", {"dataset_id": text}, "/dataset_id"),
        ("components", dataset | {"name": text}, "/name"),
        ("components", dataset | {"space": text}, "/space"),
        ("components", dataset | {"metadata": {"note": text}}, "/metadata/note"),
        ("components", dataset | {"metadata": {text: "note"}}, f"/metadata/{shown}"),
        ("components", dataset | {"hyperparameters": {"loss": text}}, "/hyperparameters/loss"),
        ("components", dataset | {text: 1}, f"/{shown}"),
        ("spaces", space | {"name": text}, "/name"),
        ("spaces", space | {"labels": ["cat", text]}, "/labels/1"),
        ("spaces", space | {"backbone": text}, "/backbone"),
        ("compositions/new", member, "/components/0/id"),
        ("compositions/new", {"rule": "joint", "components": "all", "space": text}, "/space"),
        ("evaluations", {"dataset_id": text}, "/dataset_id"),
        ("evaluations", dataset | {"composition": text}, "/composition"),
        ("predictions", {"images": [{"b64": text}]}, "/images/0/b64"),
        ("predictions", {"images": [{"b64": ""}], "labels": ["cat", text]}, "/labels/1"),
        ("predictions", {"images": [{"b64": ""}], "composition": text}, "/composition"),
    ):
        refused(post(either, path, body), pointer)
    assert either.client.get("/v1/components").json()["data"] == []


def test_a_form_field_or_a_parameter_with_one_is_refused_at_its_place(either: Service) -> None:
    packed = {"file": ("a.zip", archive({"cat": 2}), "application/zip")}
    for name in ("name", "space"):
        refused(either.client.post("/v1/datasets", files=packed, data={name: NUL}), f"/{name}")
    component = {"file": ("a.safetensors", b"x", "application/octet-stream")}
    answer = either.client.post("/v1/components/import", files=component, data={"name": NUL})
    refused(answer, "/name")
    picture = {"images": ("a.png", image("cat", 1), "image/png")}
    for name in ("composition", "space"):
        answer = either.client.post("/v1/predictions", files=picture, data={name: NUL})
        refused(answer, f"/{name}")
        answer = either.client.post(
            f"/v1/predictions?{name}=a%00b", content=b"x", headers={"Content-Type": "image/png"}
        )
        refused(answer, f"#query/{name}")
    labels = {"labels": '["cat", "\\ud800"]'}
    refused(either.client.post("/v1/predictions", files=picture, data=labels), "/labels/1")
    for path, name in (
        ("datasets?after=a%00b", "after"),
        ("spaces?after=%00", "after"),
        ("receipts?after=%00", "after"),
        ("components?space=%00", "space"),
        ("evaluations?dataset_id=%00", "dataset_id"),
        (f"datasets/{either.dataset({'cat': 2})}/images?label=%00", "label"),
    ):
        refused(either.client.get(f"/v1/{path}"), f"#query/{name}")


def test_what_a_path_names_with_one_does_not_exist(either: Service) -> None:
    dataset = either.dataset({"cat": 2})
    for method, path, code in (
        ("GET", "datasets/ds_%00", "dataset_not_found"),
        ("DELETE", "datasets/%00", "dataset_not_found"),
        ("GET", "datasets/ds_%00/images", "dataset_not_found"),
        ("GET", f"datasets/{dataset}/images/img_%00", "image_not_found"),
        ("GET", "components/cmp_%00", "component_not_found"),
        ("GET", "components/cmp_%00/events", "component_not_found"),
        ("GET", "components/cmp_%00/delta", "component_not_found"),
        ("POST", "components/cmp_%00/cancel", "component_not_found"),
        ("DELETE", "components/cmp_%00", "component_not_found"),
        ("GET", "compositions/a%00b", "composition_not_found"),
        ("DELETE", "compositions/a%00b", "composition_not_found"),
        ("GET", "spaces/%00", "space_not_found"),
        ("GET", "receipts/%00", "receipt_not_found"),
        ("POST", "receipts/%00/verify", "receipt_not_found"),
        ("GET", "evaluations/%00", "evaluation_not_found"),
        ("GET", "components/%ED%A0%80", "component_not_found"),  # a half of a character in bytes
    ):
        answer = either.client.request(method, f"/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, code), (path, answer.text)
    answer = either.client.put(
        "/v1/compositions/a%00b", json={"rule": "joint", "components": "all"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_the_name_that_a_file_gives_is_one_that_can_be_stored(either: Service) -> None:
    def form(charset: str, filename: bytes) -> dict[str, Any]:
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + filename + b'"'
        return {
            "content": head + b"\r\n\r\n" + archive({"cat": 2}) + b"\r\n--b--\r\n",
            "headers": {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"},
        }

    answer = either.client.post("/v1/datasets", **form("utf-8", b"no\0rth.zip"))
    assert (answer.status_code, answer.json()["name"]) == (201, "north"), answer.text
    answer = either.client.post("/v1/components/import", **form("utf-8", b"no\0rth.zip"))
    problem(answer, 422, "bad_component")
    for path in ("/v1/datasets", "/v1/components/import"):  # half a character has no other way in
        answer = either.client.post(path, **form("unicode_escape", b"no\\ud800rth.zip"))
        told = problem(answer, 400, "malformed_request")["detail"]
        assert "it is in unicode_escape, which is not read" in told


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("notes.jsonl", '{"\\ud800\\u0000": 1}'),
        ("metadata.jsonl", '{"file_name": "cat/2.png", "label": "cat", "split": "\\ud800\\u0000"}'),
    ],
)
def test_what_is_said_of_a_file_in_an_archive_has_neither(
    either: Service, name: str, row: str
) -> None:
    rows = ['{"file_name": "cat/1.png", "label": "cat"}'] * (name == "metadata.jsonl") + [row]
    files = {f"cat/{n}.png": image("cat", n) for n in (1, 2)} | {name: "\n".join(rows).encode()}
    client, good = either.client, either.dataset({"cat": 1}, start=7)

    made = client.post("/v1/datasets", files={"file": ("a.zip", archive_of(files))})
    added = client.post(f"/v1/datasets/{good}/images", files={"file": ("a.zip", archive_of(files))})

    assert (made.status_code, added.status_code) == (201, 200)
    for dataset, shown in ((made.json()["id"], made.json()), (good, added.json())):
        assert shown["rejected"] and client.get(f"/v1/datasets/{dataset}").status_code == 200
        reasons = json.dumps([each["reason"] for each in shown["rejected"]])
        assert "??" in reasons or name == "notes.jsonl"
