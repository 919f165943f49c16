"""Compositions over HTTP: versions, preconditions, rules, weights and selections."""

import json
import re

import pytest
from sqlalchemy import event

from app.database.sessions import transaction
from app.errors import Problem
from app.store import compositions
from app.store.members import weigh
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


@pytest.fixture(scope="module")
def a(shared: Service) -> str:
    return shared.component({"cat": 3, "dog": 3})


@pytest.fixture(scope="module")
def b(shared: Service) -> str:
    return shared.component({"cow": 3, "hen": 3})


@pytest.fixture(scope="module")
def blocks(shared: Service) -> str:
    """A component of a space where joint is not exact."""
    body = {"name": "blocks", "backbone": "resnet_micro_32", "scope": "last-block"}
    assert shared.client.post("/v1/spaces", json=body).status_code == 201
    return shared.component({"cat": 3, "dog": 3}, space="blocks")


def put(service: Service, name: str, rule="joint", components="all", headers=None, **more):
    body = {"rule": rule, "components": components} | more
    return service.client.put(f"/v1/compositions/{name}", json=body, headers=headers)


def test_a_new_composition_is_201_and_replacing_it_is_200(shared, a, b):
    first = put(shared, "n1", "weighted", [{"id": b, "weight": 2.0}, {"id": a, "weight": -0.5}])
    second = put(shared, "n1", "average", [{"id": a}])

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.headers["Location"] == "/v1/compositions/n1"
    assert first.json()["components"] == [{"id": a, "weight": -0.5}, {"id": b, "weight": 2.0}]
    assert second.json()["components"] == [{"id": a, "weight": None}]
    assert shared.client.get("/v1/compositions/n1").json() == second.json()
    assert second.json()["created_at"] == first.json()["created_at"]


def test_the_etag_follows_the_content_only(shared, a, b):
    one = put(shared, "n2", "joint", [{"id": a}, {"id": b}]).headers["ETag"]
    other_order = put(shared, "n2", "joint", [{"id": b}, {"id": a}]).headers["ETag"]
    weighted = put(shared, "n2", "joint", [{"id": a}, {"id": b, "weight": 2}]).headers["ETag"]
    back = put(shared, "n2", "joint", [{"id": a}, {"id": b}]).headers["ETag"]

    assert re.fullmatch(r'"[0-9a-f]{64}"', one)
    assert one == other_order == back != weighted
    assert shared.client.get("/v1/compositions/n2").headers["ETag"] == one


def test_an_unchanged_composition_is_304(shared, a):
    etag = put(shared, "n3", "joint", [{"id": a}]).headers["ETag"]

    same = shared.client.get("/v1/compositions/n3", headers={"If-None-Match": f'"x", W/{etag}'})
    other = shared.client.get("/v1/compositions/n3", headers={"If-None-Match": '"x"'})

    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    assert other.status_code == 200


def test_a_stale_version_is_412_and_changes_nothing(shared, a, b):
    etag = put(shared, "n4", "joint", [{"id": a}]).headers["ETag"]
    put(shared, "n4", "joint", [{"id": b}], headers={"If-Match": etag})
    now = shared.client.get("/v1/compositions/n4").json()

    for headers in ({"If-Match": etag}, {"If-None-Match": "*"}):
        answer = put(shared, "n4", "average", [{"id": a}], headers=headers)
        problem(answer, 412, "composition_changed")
    gone = shared.client.delete("/v1/compositions/n4", headers={"If-Match": etag})
    problem(gone, 412, "composition_changed")

    assert shared.client.get("/v1/compositions/n4").json() == now


def test_a_precondition_on_what_does_not_exist(shared, a):
    absent = put(shared, "n5", "joint", [{"id": a}], headers={"If-Match": "*"})
    problem(absent, 412, "composition_changed")
    assert shared.client.get("/v1/compositions/n5").status_code == 404

    made = put(shared, "n5", "joint", [{"id": a}], headers={"If-None-Match": "*"})
    assert made.status_code == 201


@pytest.mark.parametrize("header", ["abc", 'W/"abc"', '"a", "b"', '"', ""])
def test_a_precondition_that_is_no_strong_etag_is_malformed(shared, header):
    answer = put(shared, "n6", headers={"If-Match": header})

    problem(answer, 400, "bad_etag")


def test_a_deleted_composition_is_404_and_its_components_stay(shared, a):
    put(shared, "n7", "joint", [{"id": a}])

    answer = shared.client.delete("/v1/compositions/n7")

    assert (answer.status_code, answer.content) == (204, b"")
    for method in ("GET", "DELETE"):
        again = shared.client.request(method, "/v1/compositions/n7")
        problem(again, 404, "composition_not_found")
    assert shared.client.get(f"/v1/components/{a}").status_code == 200


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "-Infinity", '"1"', "true", "1e999"])
def test_a_weight_that_is_no_number_is_refused(shared, a, weight):
    body = {"rule": "weighted", "components": [{"id": a, "weight": "?"}]}
    text = json.dumps(body).replace('"?"', weight)

    answer = shared.client.put(
        "/v1/compositions/n8", content=text, headers={"Content-Type": "application/json"}
    )

    problem(answer, 422, "invalid_request")
    assert shared.client.get("/v1/compositions/n8").status_code == 404


@pytest.mark.parametrize(
    ("rule", "weights", "code", "says"),
    [
        ("weighted", [None], "bad_weight", "no weight, but rule weighted needs a number for"),
        ("average", [0.5], "bad_weight", "takes no weights"),
        ("joint", [-1.0], "bad_weight", "at least 0"),
        ("joint", [0.0], "bad_weight", "above 0"),
        ("weighted", [float("nan")], "bad_weight", "finite"),
        ("joint", [float("inf")], "bad_weight", "finite"),
        ("joint", [1.0, 1e300], "bad_weight", "1e\\+100"),
        ("discriminant", [1e-300, 1.0], "bad_weight", "of 0, or of a size from 1e-100"),
        ("discriminant", [-1.0], "bad_weight", "at least 0"),
        ("discriminant", [0.0], "bad_weight", "rule discriminant needs one weight above 0"),
        ("median", [None], "unknown_rule", "average, weighted, joint"),
    ],
)
def test_a_rule_takes_its_own_weights_only(rule, weights, code, says):
    with pytest.raises(Problem, match=says) as refused:
        weigh(rule, [(f"cmp_{i}", weight) for i, weight in enumerate(weights)])

    assert refused.value.code == code


def test_all_components_cannot_be_weighted(shared):
    problem(put(shared, "n9", "weighted", "all"), 422, "bad_weight")


def test_joint_answers_at_a_block_scope_as_well(shared, blocks):
    assert put(shared, "n10", "joint", "all", space="blocks").status_code == 201


def test_components_that_cannot_be_composed_are_refused(shared, a, blocks):
    queued = shared.queued(shared.dataset({"cat": 3}))
    cases = [
        ([{"id": "cmp_none"}], 404, "component_not_found"),
        ([{"id": queued}], 409, "component_not_ready"),
        ([{"id": blocks}], 422, "component_other_space"),
        ([{"id": a}, {"id": a}], 422, "component_repeated"),
    ]
    for components, status, code in cases:
        answer = put(shared, "n11", "joint", components)
        problem(answer, status, code)
    assert shared.client.get("/v1/compositions/n11").status_code == 404


@pytest.mark.parametrize("name", ["-a", "a b", "a" * 65, "ä"])
def test_a_name_that_is_no_name_is_refused(shared, name):
    problem(put(shared, name), 422, "invalid_request")


def test_more_components_than_allowed_are_refused(serve):
    service = serve(max_components=2)

    answer = put(service, "many", "joint", [{"id": f"cmp_{i}"} for i in range(3)])

    problem(answer, 422, "too_many_components")


def test_compositions_are_listed_by_name(service):
    for name in ("c", "a", "b"):
        put(service, name)

    first = service.client.get("/v1/compositions?limit=2").json()
    second = service.client.get("/v1/compositions", params={"after": first["next"]}).json()

    assert [row["name"] for row in first["data"] + second["data"]] == ["a", "b", "c"]
    assert (first["has_more"], second["has_more"], second["next"]) == (True, False, None)


def test_a_composition_of_all_takes_in_what_becomes_ready_later(service):
    first = service.component({"cat": 3})
    etag = put(service, "all").headers["ETag"]
    before = predicted(service, composition="all")

    second = service.component({"dog": 3})
    after = predicted(service, composition="all")

    assert [part["id"] for part in before["components"]] == [first]
    assert [part["id"] for part in after["components"]] == [first, second]
    assert after["composition"] == before["composition"] == {"name": "all", "etag": etag.strip('"')}


def predicted(service: Service, **fields: str) -> dict:
    files = [("images", ("a.png", image("cat", 50), "image/png"))]
    answer = service.client.post("/v1/predictions", files=files, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_composition_answers_as_its_components_and_weights_do(shared, a, b):
    put(shared, "n12", "weighted", [{"id": a, "weight": 0.25}, {"id": b, "weight": -1.5}])
    components = json.dumps([{"id": b, "weight": -1.5}, {"id": a, "weight": 0.25}])

    named = predicted(shared, composition="n12")
    given = predicted(shared, components=components, rule="weighted")

    assert named["results"] == given["results"]
    assert named["components"] == given["components"]


def selected(shared, **wanted):
    names = ("space_name", "composition", "components", "rule")
    with transaction(shared.state.reading) as session:
        return compositions.resolve(session, *(wanted.get(name) for name in names))


def test_a_selection_names_its_rule_members_and_version(shared, a, b):
    etag = put(shared, "n13", "weighted", [{"id": a, "weight": 2}]).json()["etag"]

    named = selected(shared, composition="n13")
    given = selected(shared, components=[(b, None), (a, None)])

    assert (named.rule, named.etag) == ("weighted", etag)
    assert [(row.id, weight) for row, weight in named.members] == [(a, 2.0)]
    assert (given.rule, given.composition, given.etag) == ("joint", None, None)
    assert [(row.id, weight) for row, weight in given.members] == [(a, None), (b, None)]


@pytest.mark.parametrize("named", [False, True])
def test_a_selection_takes_a_statement_for_the_space_and_one_for_all_components(
    shared, a, b, named
):
    statements: list[str] = []
    with transaction(shared.state.reading) as session:
        heard = session.connection(), "before_cursor_execute"
        event.listen(*heard, lambda *said: statements.append(said[2]))
        given = [(a, None), (b, None)] if named else None
        compositions.resolve(session, "default", None, given, None)
    rows = [each for each in statements if "selection_version" not in each]
    assert len(rows) == 2, rows


def test_under_another_rule_a_compositions_weights_do_not_count(shared, a):
    put(shared, "n14", "weighted", [{"id": a, "weight": 2}])

    averaged = selected(shared, composition="n14", rule="average")

    assert [weight for _, weight in averaged.members] == [None]
    put(shared, "n14", "average", [{"id": a}])
    with pytest.raises(Problem, match="needs a number for every component"):
        selected(shared, composition="n14", rule="weighted")


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"composition": "n15", "components": [("x", None)]}, "selection_ambiguous"),
        ({"composition": "n15", "space_name": "blocks"}, "composition_other_space"),
        ({"components": []}, "no_components_given"),
        ({"components": [("x", 1.0)]}, "rule_missing"),
        ({"space_name": "nowhere"}, "space_not_found"),
        ({"rule": "weighted"}, "bad_weight"),
    ],
)
def test_a_selection_that_is_unclear_is_refused(shared, blocks, a, wanted, code):
    put(shared, "n15", "joint", [{"id": a}])

    with pytest.raises(Problem) as refused:
        selected(shared, **wanted)

    assert refused.value.code == code


def test_with_no_ready_component_a_selection_says_so(service):
    service.queued(service.dataset({"cat": 3}))

    with pytest.raises(Problem, match="has no ready component to answer with") as refused:
        selected(service)

    assert (refused.value.code, refused.value.status) == ("no_components", 409)
