"""JSON as clients of many kinds write it, on every route alike."""

import base64
import json

import pytest

from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

JSON = {"Content-Type": "application/json"}
PREDICTION = {"images": [{"b64": base64.b64encode(image("cat", 90)).decode()}]}
PATHS = ("components", "predictions")


def post(service: Service, path: str, body: bytes, media_type: str = "application/json"):
    headers = {"Content-Type": media_type}
    return service.client.post(f"/v1/{path}", content=body, headers=headers)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_read_in_every_encoding_of_unicode(two: TwoComponents, encoding: str) -> None:
    body = json.dumps(PREDICTION).encode(encoding)
    assert post(two.service, "predictions", body).status_code == 200
    body = json.dumps({"dataset_id": "ds_none"}).encode(encoding)
    problem(post(two.service, "components", body), 404, "dataset_not_found")


@pytest.mark.parametrize("media_type", ["application/vnd.api+json", "Application/JSON;charset=x"])
def test_json_may_have_a_media_type_of_its_own(two: TwoComponents, media_type: str) -> None:
    body = json.dumps(PREDICTION).encode()
    assert post(two.service, "predictions", body, media_type).status_code == 200
    answer = post(two.service, "components", b'{"dataset_id": "ds_none"}', media_type)
    problem(answer, 404, "dataset_not_found")


@pytest.mark.parametrize("charset", ["iso-8859-1", "Windows-1252", '"latin1"'])
def test_json_that_is_in_no_unicode_is_read_in_its_charset(shared: Service, charset: str) -> None:
    media_type = f"application/json; charset={charset}"
    body = '{"dataset_id": "caf\xe9"}'
    for sent in (body.encode("latin-1"), body.encode()):  # many say the one and send the other
        told = problem(post(shared, "components", sent, media_type), 404, "dataset_not_found")
        assert "'café'" in told["detail"]
    told = problem(post(shared, "components", body.encode("latin-1")), 400, "malformed_request")
    assert "JSON must be in UTF-8" in told["detail"]
    predicted = '{"images": [], "composition": "caf\xe9"}'.encode("latin-1")
    problem(post(shared, "predictions", predicted, media_type), 422, "invalid_request")


@pytest.mark.parametrize("charset", ["zlib", "rot13", "unicode_escape", "no-such", ""])
def test_a_charset_that_is_none_of_texts_changes_nothing(shared: Service, charset: str) -> None:
    media_type = f"application/json; charset={charset}"
    problem(post(shared, "components", b'{"a": "\xe9"}', media_type), 400, "malformed_request")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "the request's body is empty: send a JSON object"),
        (b'{"name": "\xff"}', "JSON must be in UTF-8"),
        (b"[" * 20_000 + b"]" * 20_000, "nested"),
        (b"{'a': 1}", "is not JSON"),
        (b'{"seed": ' + b"9" * 5000 + b', "top_k": ' + b"9" * 5000 + b"}", "number"),
    ],
)
def test_a_body_that_cannot_be_read_is_told_what_was_seen(
    shared: Service, path: str, body: bytes, told: str
) -> None:
    answer = post(shared, path, body)
    assert answer.status_code in (400, 422)
    document = problem(answer, answer.status_code, answer.json()["code"])
    assert told in document["detail"]
    assert "boundary" not in document["detail"] or b"\xff" in body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"3"])
def test_json_that_is_no_object_is_told_so(shared: Service, path: str, body: bytes) -> None:
    told = problem(post(shared, path, body), 422, "invalid_request")["detail"]
    assert "/: Input should be an object" in told


@pytest.mark.parametrize(
    ("path", "name"),
    [("components", "seed"), ("predictions", "top_k"), ("predictions", "abstain_above")],
)
def test_a_number_is_neither_a_text_nor_true(two: TwoComponents, path: str, name: str) -> None:
    body = PREDICTION if path == "predictions" else {"dataset_id": "ds_none"}
    for wrong, told in (("1", "and not text"), (True, "and not true or false")):
        answer = post(two.service, path, json.dumps(body | {name: wrong}).encode())
        detail = problem(answer, 422, "invalid_request")["detail"]
        assert f"/{name}: Input should be a number, {told}" in detail
    for right in (1, 1.0):  # both are integers, as JSON schemas have it
        answer = post(two.service, path, json.dumps(body | {name: right}).encode())
        assert answer.status_code == (200 if path == "predictions" else 404), answer.text


def test_a_number_of_a_form_or_a_query_is_a_text(two: TwoComponents) -> None:
    picture = image("cat", 90)
    numbers = {"top_k": "1", "abstain_above": "0.5"}
    ask = two.service.client.post
    form = ask("/v1/predictions", files={"images": ("a.png", picture)}, data=numbers)
    png = {"Content-Type": "image/png"}
    query = ask("/v1/predictions", content=picture, headers=png, params=numbers)
    for answer in (form, query):
        assert len(answer.json()["results"][0]["predictions"]) == 1, answer.text


def test_a_name_that_comes_twice_is_refused_with_the_name(shared: Service) -> None:
    dataset_id = shared.dataset({"cat": 1}, start=70)
    twice = b'{"epsilon": 8, "epsilon": 900, "delta": 1e-5}'
    url = f"/v1/datasets/{dataset_id}/privacy"
    answer = shared.client.put(url, content=twice, headers=JSON)
    assert "the name 'epsilon' twice" in problem(answer, 400, "malformed_request")["detail"]
    inner = b'{"dataset_id": "ds_none", "metadata": {"a": "1", "b": "2", "a": "3"}}'
    assert "'a'" in problem(post(shared, "components", inner), 400, "malformed_request")["detail"]
    form = {"file": ("a.zip", b"")}
    sent = shared.client.post("/v1/datasets", files=form, data={"privacy_budget": twice.decode()})
    assert "the name 'epsilon' twice" in problem(sent, 422, "invalid_request")["detail"]


@pytest.mark.parametrize("path", PATHS)
def test_a_json_patch_is_no_merge_patch(shared: Service, path: str) -> None:
    dataset_id = shared.dataset({"cat": 1}, start=71)
    url, body = f"/v1/datasets/{dataset_id}", b'{"name": "new"}'
    media_type = {"Content-Type": "application/json-patch+json; charset=utf-8"}
    refused = shared.client.patch(url, content=body, headers=media_type)
    told = problem(refused, 415, "unsupported_media_type")["detail"]
    assert "application/merge-patch+json" in told
    problem(post(shared, path, body, media_type["Content-Type"]), 415, "unsupported_media_type")
    merge = {"Content-Type": "application/merge-patch+json"}
    assert shared.client.patch(url, content=body, headers=merge).json()["name"] == "new"


def test_a_slash_at_the_end_of_a_path_is_told(shared: Service) -> None:
    told = problem(shared.client.get("/v1/datasets/"), 404, "route_not_found")["detail"]
    assert told == "no route /v1/datasets/: leave out the slash at its end"
    told = problem(shared.client.get("/v1/none/"), 404, "route_not_found")["detail"]
    assert "/docs lists the routes" in told
