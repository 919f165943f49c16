"""A deletion ends while a composition is under way, and no answer has what it has deleted."""

from typing import Any

import pytest

from tangent.composition.joint import JointSums
from tests.support.client import predict
from tests.support.service import Service

SECONDS = 20  # a deletion that waits for what it is called from would wait for ever


@pytest.mark.parametrize("is_member", [False, True], ids=["of another", "of one of its own"])
def test_a_deletion_does_not_wait_for_a_problem_that_is_being_solved(
    service: Service, monkeypatch: pytest.MonkeyPatch, is_member: bool
) -> None:
    ids = [service.component({"cat": 3, "dog": 3}, start=10 * i) for i in range(4)]
    asked, gone = ids[:3], ids[2 if is_member else 3]
    solve, solved = JointSums.delta, []

    def delete_and_solve(sums: JointSums) -> Any:
        solved.append(sums)
        if len(solved) == 1:
            service.client.delete(f"/v1/components/{gone}", timeout=SECONDS).raise_for_status()
        return solve(sums)

    monkeypatch.setattr(JointSums, "delta", delete_and_solve)
    answer = predict(service, rule="joint", components=",".join(asked))
    assert solved
    if is_member:
        assert answer.json()["code"] == "component_deleted"
    else:
        assert sorted(each["id"] for each in answer.json()["components"]) == sorted(asked), (
            answer.text
        )
