"""A receipt is told in words: every member of every version, and bodies that were changed too."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.receipts.body import NOT_COVERED, BodyV3, ComponentOutcome
from tangent_composer.schemas.receipts import EXAMPLE
from tests.support.page_process import Node

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
VERSION_BEFORE = json.loads((FIXTURES / "version_before.json").read_text())["shown"]
CALL = """async (body, load) => {
  const { explained, outcomesOf, subjectOf } = await load("receipts/words.js");
  return { subject: subjectOf(body), members: explained(body), outcomes: outcomesOf(body) };
}"""
MEMBERS = {"version", *(member.name for member in fields(BodyV3))}
FULL = EXAMPLE["body"] | {
    "dataset_id": "ds_1",
    "salted_image_sha256": ["7f…"],
    "added_images": 2,
    "also_held": {"datasets": 1, "images": 3, "components": 0},
    "components": [{"id": "cmp_2", "outcome": "down_dated", "old_sha256": "a", "new_sha256": "b"}],
}


@pytest.fixture(scope="module")
def told() -> Iterator[Node]:
    with Node(CALL) as node:
        yield node


def test_every_member_that_a_body_can_have_has_a_sentence(told):
    assert set(FULL) == MEMBERS

    members = told(FULL)["members"]

    assert len(members) == len(MEMBERS)
    for member in members:
        assert member["says"] and all(member["says"]), member
        assert not any("does not know" in says or "undefined" in says for says in member["says"])


def test_what_is_not_covered_is_told_in_full(told):
    members = told(FULL | {"not_covered": list(NOT_COVERED)})["members"]

    assert list(NOT_COVERED) in [member["says"] for member in members]


@pytest.mark.parametrize("receipt", VERSION_BEFORE["receipts"], ids=lambda each: each["id"])
def test_bodies_of_earlier_versions_are_told_whole(told, receipt):
    answer = told(receipt["body"])

    assert len(answer["members"]) == len(receipt["body"])
    assert receipt["body"]["subject"]["id"] in answer["subject"]


@pytest.mark.parametrize(
    "kind",
    ["component", "dataset", "image", "several_images", "labels", "label", "images", "space"],
)
def test_every_kind_of_deletion_has_a_sentence_of_its_own(told, kind):
    says = told({"subject": {"kind": kind, "id": "x_1", "dataset_id": "ds_1"}})["subject"]

    assert "x_1" in says and "was deleted or changed" not in says


def test_every_outcome_for_a_component_has_words(told):
    names = ["down_dated", "relabelled", "updated", "retraining", "queued", "unaffected"]
    bodies = {"components": [{"id": "cmp_1", "outcome": name} for name in names]}

    outcomes = told(bodies)["outcomes"]

    assert "outcome" in {member.name for member in fields(ComponentOutcome)}
    assert [each["says"] == name for each, name in zip(outcomes, names, strict=True)] == [False] * 6


def test_a_member_of_a_later_version_is_shown_as_it_is(told):
    (member,) = told({"later": {"a": 1}})["members"]

    assert member == {"title": "later", "says": ['This page does not know it: {"a":1}']}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.just("constructor"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(body=JSON | st.dictionaries(st.sampled_from(sorted(MEMBERS)), JSON))
def test_a_body_of_any_form_is_told_without_a_fault(told, body):
    answer = told(body)

    assert isinstance(answer, dict), (json.dumps(body), answer)
    said = [says for member in answer["members"] for says in member["says"]]
    said += [each["says"] for each in answer["outcomes"]]
    assert all(isinstance(says, str) for says in said)
