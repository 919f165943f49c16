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


def test_a_slash_at_the_end_of_a_path_is_told(shared: Service) -> None:
    told = problem(shared.client.get("/v1/datasets/"), 404, "route_not_found")["detail"]
    assert told == "no route /v1/datasets/: leave out the slash at its end"
    told = problem(shared.client.get("/v1/none/"), 404, "route_not_found")["detail"]
    assert "/docs lists the routes" in told
