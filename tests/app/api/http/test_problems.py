"""Every error is a problem document with a stable code, whoever raises it."""

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import event

from app.api.http import problems
from app.errors import Conflict, Invalid, NotReady
from tangent import errors as tangent_errors
from tests.support.images import archive
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


def test_an_unknown_route_is_a_problem(shared: Service) -> None:
    problem(shared.client.get("/v1/nothing"), 404, "route_not_found")
    problem(shared.client.get("/nothing"), 404, "route_not_found")


def test_a_wrong_method_is_a_problem_that_keeps_the_allow_header(shared: Service) -> None:
    answer = shared.client.put("/v1/spaces")
    problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_a_body_of_another_shape_is_a_problem_that_points_to_the_place(shared: Service) -> None:
    answer = shared.client.post("/v1/spaces", json={"name": "a b", "backbone": "x", "wrong/key": 1})
    document = problem(answer, 422, "invalid_request")
    pointers = {error["pointer"] for error in document["errors"]}
    assert pointers == {"/name", "/scope", "/wrong~1key"}
    assert "a b" not in answer.text


def test_a_query_of_another_shape_is_a_problem_that_points_to_the_place(shared: Service) -> None:
    document = problem(shared.client.get("/v1/spaces?limit=101"), 422, "invalid_request")
    assert [error["pointer"] for error in document["errors"]] == ["#query/limit"]


@pytest.mark.parametrize("path", ["/v1/spaces", "/v1/evaluations", "/v1/predictions"])
def test_a_body_that_is_not_json_is_a_malformed_one(shared: Service, path: str) -> None:
    answer = shared.client.post(
        path, content=b'{"name": ', headers={"Content-Type": "application/json"}
    )
    problem(answer, 400, "malformed_json")


def test_deeply_nested_json_is_a_problem(shared: Service) -> None:
    for path in ("/v1/predictions", "/v1/evaluations"):
        answer = shared.client.post(
            path, content=b"[" * 100_000, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.fixture
def broken(service: Service) -> Service:
    """A service with a route that fails unexpectedly."""

    def fail() -> None:
        raise RuntimeError("secret inside")

    service.app.add_api_route("/v1/broken", fail)
    return service


def test_an_unexpected_error_is_logged_with_its_id_and_leaks_nothing(
    broken: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = broken.client.get("/v1/broken", headers={"X-Request-Id": "trace-7"})
    problem(answer, 500, "internal_error")
    assert "secret" not in answer.text and "RuntimeError" not in answer.text
    (record,) = [each for each in caplog.records if "trace-7" in each.getMessage()]
    assert record.exc_info is not None and "secret inside" in str(record.exc_info[1])


@pytest.fixture
def uncommitting(service: Service) -> Iterator[Service]:
    """A service where every writing transaction fails at its commit."""

    def refuse(_session: object) -> None:
        raise RuntimeError("the disk is full")

    event.listen(service.state.sessions, "before_commit", refuse)
    yield service
    event.remove(service.state.sessions, "before_commit", refuse)


def test_a_failing_commit_is_not_answered_as_a_success(uncommitting: Service) -> None:
    files = {"file": ("a.zip", archive({"cat": 2}), "application/zip")}
    answer = uncommitting.client.post("/v1/datasets", files=files)
    problem(answer, 500, "internal_error")
    assert uncommitting.client.get("/v1/datasets").json()["data"] == []


def test_a_sane_request_id_is_kept_and_another_is_replaced(shared: Service) -> None:
    def given(value: str) -> str:
        answer = shared.client.get("/livez", headers={"X-Request-Id": value})
        return answer.headers["x-request-id"]

    assert given("8f14e45f-ceea.467:a") == "8f14e45f-ceea.467:a"
    for odd in ("", "a b", "<script>", "x" * 129, '"'):
        assert given(odd).startswith("req_")
    made = shared.client.get("/livez").headers["x-request-id"]
    assert made != shared.client.get("/livez").headers["x-request-id"]


@pytest.mark.parametrize(
    ("error", "family"),
    [
        (tangent_errors.UnknownBackbone("no"), Invalid),
        (tangent_errors.BadHyperparameter("no"), Invalid),
        (tangent_errors.FingerprintMismatch("no"), Conflict),
        (tangent_errors.BackboneUnavailable("no"), NotReady),
    ],
)
def test_errors_of_the_mathematics_keep_their_code(
    error: tangent_errors.TangentError, family: type
) -> None:
    made = problems.from_tangent(error)
    assert type(made) is family
    assert (made.code, made.detail) == (error.code, "no")
