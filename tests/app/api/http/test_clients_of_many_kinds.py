"""Requests as clients of many kinds send them: read where they can be, else told what was seen."""

import base64
import json
from typing import Any

import httpx
import pytest

from tests.support.archives import archive, noise, noise_at
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

JSON = {"Content-Type": "application/json"}
PICTURE = image("cat", 90)
B64 = base64.b64encode(PICTURE).decode()
READ_AS_JSON = [
    ("POST", "spaces"),
    ("POST", "components"),
    ("POST", "components/derive"),
    ("PUT", "compositions/x"),
    ("POST", "evaluations"),
    ("POST", "datasets/ds_x/labels"),
]


def predict(two: TwoComponents, body: bytes, media_type: str, **query: str) -> httpx.Response:
    headers = {"Content-Type": media_type}
    return two.service.client.post("/v1/predictions", content=body, headers=headers, params=query)


def sent(two: TwoComponents, b64: str) -> Any:
    """The first result of a prediction from this base64."""
    answer = two.service.client.post("/v1/predictions", json={"images": [{"b64": b64}]})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"][0]


@pytest.mark.parametrize(("method", "path"), READ_AS_JSON)
@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", None]
)
def test_json_by_another_name_is_refused_with_the_name_to_send(
    shared: Service, method: str, path: str, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = shared.client.request(method, f"/v1/{path}", content=b'{"a": 1}', headers=headers)
    told = problem(answer, 415, "unsupported_media_type")["detail"]
    assert "Content-Type: application/json" in told
    assert (media_type or "a body without Content-Type").partition(";")[0] in told


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *(("datasets", "file"), ("components/import", "file"), ("batch-predictions", "file")),
        *(("datasets/ds_x/images", "file"), ("images/search", "image"), ("predictions", "images")),
    ],
)
def test_a_file_that_is_no_part_of_a_form_is_refused_with_the_form_to_send(
    shared: Service, path: str, field: str
) -> None:
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/zip"}, {}):
        answer = shared.client.post(f"/v1/{path}", content=b"{}", headers=headers)
        assert f"{field}=" in problem(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("size", [10, 2 * 2**20])
@pytest.mark.parametrize(
    ("path", "field"),
    [("datasets", "file"), ("components/import", "file"), ("predictions", "images")],
)
def test_a_file_without_a_filename_is_told_so(
    shared: Service, path: str, field: str, size: int
) -> None:
    answer = shared.client.post(f"/v1/{path}", files={field: (None, b"x" * size)})
    assert answer.status_code in (400, 422)
    told = answer.json()["detail"]
    assert "its part has no filename" in told and field in told
    assert "UploadFile" not in told and "1024KB" not in told


def test_a_body_in_another_encoding_is_told_so(shared: Service) -> None:
    answer = shared.client.post("/v1/components", content=b'{"name": "\xff"}', headers=JSON)
    assert "JSON must be in UTF-8" in problem(answer, 400, "malformed_request")["detail"]


def test_a_byte_order_mark_before_json_is_passed_over(two: TwoComponents) -> None:
    body = json.dumps({"images": [{"b64": B64}]}).encode()
    assert predict(two, b"\xef\xbb\xbf" + body, "application/json").status_code == 200
    body = b'\xef\xbb\xbf{"dataset_id": "ds_none"}'
    answer = two.service.client.post("/v1/components", content=body, headers=JSON)
    problem(answer, 404, "dataset_not_found")


def test_base64_may_be_a_data_url_or_for_urls(two: TwoComponents) -> None:
    for_urls = base64.urlsafe_b64encode(PICTURE).decode()
    assert "-" in for_urls or "_" in for_urls
    for text in (for_urls, for_urls.rstrip("="), f"data:image/png;base64,{B64}"):
        assert sent(two, text) == sent(two, B64)


def test_base64_may_have_line_ends(two: TwoComponents) -> None:
    lines = base64.encodebytes(PICTURE).decode()
    assert "\n" in lines[:-1]
    for text in (lines, lines.replace("\n", "\r\n"), f" {B64}\t"):
        assert sent(two, text) == sent(two, B64)


@pytest.mark.parametrize(
    ("b64", "told"),
    [
        ("data:image/png;base64 " + B64, "without the comma"),
        (B64 + "A" * (5 - len(B64.rstrip("=")) % 4), "was cut off"),
        ("{" + B64, "it has '{'"),
        ("é" + B64, "it has 'é'"),
    ],
)
def test_what_is_no_base64_is_told_by_what_was_seen(
    two: TwoComponents, b64: str, told: str
) -> None:
    error = sent(two, b64)["error"]
    assert error["code"] == "bad_base64" and told in error["detail"]


@pytest.mark.parametrize(
    "media_type",
    [
        *("image/jpg", "image/pjpeg", "image/bmp", "image/tiff", "IMAGE/*"),
        *("application/octet-stream", "binary/octet-stream"),
    ],
)
def test_a_raw_image_may_be_called_any_image(two: TwoComponents, media_type: str) -> None:
    assert predict(two, PICTURE, media_type, components=two.pets).status_code == 200


def test_fields_that_nobody_filled_in_count_as_not_sent(two: TwoComponents) -> None:
    names = ("composition", "components", "space", "rule", "top_k", "labels", "return")
    plain = two.post(PICTURE).json()["results"]
    assert two.post(PICTURE, **dict.fromkeys(names, "")).json()["results"] == plain
    assert predict(two, PICTURE, "image/png", **dict.fromkeys(names, "")).json()["results"] == plain
    told = problem(two.post(PICTURE, compositon=""), 422, "invalid_request")["detail"]
    assert "/compositon" in told


@pytest.mark.parametrize(
    "path",
    [
        *("livez", "readyz", "metrics", "docs", "openapi.json", "v1/limits", "v1/datasets"),
        *("v1/components/{id}/delta", "v1/components/{id}", "v1/components/cmp_none"),
    ],
)
def test_head_has_the_status_and_headers_of_get_and_no_body(two: TwoComponents, path: str) -> None:
    url = "/" + path.replace("{id}", two.pets)
    head, get = two.service.client.head(url), two.service.client.get(url)
    assert head.status_code == get.status_code
    assert head.content == b"" and get.content
    for name in ("content-type", "etag", "accept-ranges"):
        assert head.headers.get(name) == get.headers.get(name)
    if path.endswith("delta"):
        assert head.headers["content-length"] == str(len(get.content))


def test_head_of_a_stream_ends_and_is_counted_by_its_route(two: TwoComponents) -> None:
    headers = {"Accept": "text/event-stream"}
    url = f"/v1/components/{two.pets}/events"
    head = two.service.client.head(url, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    counted = two.service.client.get("/metrics").text
    assert 'method="HEAD",route="/v1/components/{component_id}/events",status="200"' in counted
    assert two.service.client.head("/v1/predictions").status_code == 405


def test_a_browser_that_has_seen_the_last_event_is_told_to_stop(two: TwoComponents) -> None:
    url = f"/v1/components/{two.pets}/events"
    last = two.service.client.get(url, params={"limit": 100}).json()["data"][-1]["id"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
    answer = two.service.client.get(url, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert two.service.client.head(url, headers=headers).status_code == 204
    headers["Last-Event-ID"] = str(last - 1)
    assert f"id: {last}" in two.service.client.get(url, headers=headers).text


def test_parameters_of_a_query_that_came_empty_count_as_not_sent(two: TwoComponents) -> None:
    client = two.service.client
    for path in (
        "components?status=&order=&limit=&name=&after=",
        f"components/{two.pets}/events?after=",
    ):
        plain = client.get(f"/v1/{path.partition('?')[0]}").json()
        assert client.get(f"/v1/{path}").json() == plain
    answer = client.get("/v1/components?statsu=")
    assert "/statsu" in problem(answer, 422, "invalid_request")["detail"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": ""}
    url = f"/v1/components/{two.pets}/events"
    assert client.get(url, headers=headers).text.count("event: status") > 0


def test_the_messages_of_values_are_in_this_project_s_words(shared: Service) -> None:
    body = {"name": "twice", "backbone": "resnet_micro_32", "scope": "head", "labels": ["a", "a"]}
    told = problem(shared.client.post("/v1/spaces", json=body), 422, "invalid_request")["detail"]
    assert told.endswith("/labels: named twice: a")


def test_an_image_is_looked_at_whatever_it_is_called(two: TwoComponents) -> None:
    found = predict(two, b"no image", "image/heic", components=two.pets).json()["results"][0]
    assert found["error"]["code"] and "predictions" not in found
    assert predict(two, noise(kind="BMP"), "image/png", components=two.pets).status_code == 200


def test_an_archive_is_read_from_its_part_whatever_its_type(shared: Service) -> None:
    for media_type in ("application/x-zip-compressed", "text/plain", "image/png"):
        file = ("pets.zip", archive(noise_at("cat/1.png")), media_type)
        assert shared.client.post("/v1/datasets", files={"file": file}).status_code == 201


def test_a_form_without_its_boundary_is_told_so(shared: Service) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    for path in ("datasets", "components/import", "predictions"):
        answer = shared.client.post(f"/v1/{path}", content=b"--x\r\n\r\n--x--", headers=headers)
        assert "names no boundary" in problem(answer, 400, "malformed_request")["detail"]


@pytest.mark.parametrize("path", ["components", "predictions"])
@pytest.mark.parametrize("body", [b"{'a': 1}", b" ", b'{"a": 1,}', b'{"a": NaN}x'])
def test_what_is_no_json_is_told_with_its_place(shared: Service, path: str, body: bytes) -> None:
    answer = shared.client.post(f"/v1/{path}", content=body, headers=JSON)
    told = problem(answer, 400, "malformed_json")["detail"]
    assert "not JSON (" in told and ("character" in told or "line 1 column" in told)
