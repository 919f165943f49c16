"""Private components whose promise is about groups: what they count for, here and for images."""

import pytest

from app.database.sessions import transaction
from app.datasets import privacy_accounting
from app.datasets.privacy_sharing import shares
from app.datasets.privacy_units import GROUP, IMAGE, Release, counted, largest_group
from tangent.components.gaussian_mechanism import mu_of
from tangent.training.privacy import public_images
from tests.support.images import image
from tests.support.privacy import ask, budget, files_of, ledger, train
from tests.support.problems import problem
from tests.support.splits import listed, uploaded

SCOPE = "head"
NOISE = 1 / mu_of(1.0, 1e-5)


@pytest.fixture(autouse=True)
def few_public_images(monkeypatch):
    monkeypatch.setattr(public_images, "COUNT", 64)


def epsilon(*multipliers: float) -> object:
    return pytest.approx(privacy_accounting.total(multipliers, 1e-5).epsilon, rel=1e-4)


def test_a_release_counts_by_the_steps_in_which_it_can_change():
    image_, group = (Release("ds_1", 12.0, unit, 4) for unit in (IMAGE, GROUP))
    assert counted(image_, IMAGE, "ds_1", 4) == counted(group, GROUP, "ds_1", 4) == 12.0
    assert counted(group, IMAGE, "ds_1", 4) == 6.0
    assert counted(image_, GROUP, "ds_1", 9) == 3.0
    assert counted(image_, GROUP, "ds_2", 2) == 2.0
    assert counted(group, GROUP, "ds_2", 1) == 4.0


def test_a_ledger_of_groups_adds_group_by_group_and_twice_for_images(service):
    dataset_id = uploaded(service, files_of({"a": 3, "b": 2, "c": 1}))["id"]
    train(service, dataset_id)
    found = ledger(service, dataset_id)
    assert (found["unit"], found["spends"][0]["unit"]) == ("group", "group")
    assert found["spent"]["epsilon"] == epsilon(NOISE)
    budget(service, dataset_id, epsilon=50.0)
    found = ledger(service, dataset_id)
    assert found["unit"] == "image"
    assert found["spent"]["epsilon"] == epsilon(NOISE / 2)


def test_a_budget_for_groups_counts_a_promise_about_images_once_for_each_of_the_largest(service):
    dataset_id = uploaded(service, files_of({"a": 3, "b": 2}))["id"]
    budget(service, dataset_id, unit="group", epsilon=3.0)
    problem(ask(service, dataset_id, unit="image"), 409, "budget_spent")
    train(service, dataset_id)
    train(service, dataset_id, unit="image", epsilon=0.3)
    found = ledger(service, dataset_id)
    assert found["spent"]["epsilon"] == epsilon(NOISE, 1 / mu_of(0.3, 1e-5) / 3)


@pytest.mark.parametrize(
    "terms",
    [{"unit": "image"}, {"unit": "image", "delta": 1e-6}, {"delta": 1e-9, "epsilon": 20.0}],
    ids=["another unit", "another unit and delta", "another delta"],
)
def test_what_is_left_can_be_asked_for_in_the_unit_and_delta_of_the_refused_training(
    service, terms
):
    dataset_id = uploaded(service, files_of({"a": 4, "b": 2}))["id"]
    budget(service, dataset_id, unit="group", epsilon=8.0)
    asked = {"epsilon": 8.0} | terms
    refused = problem(ask(service, dataset_id, **asked), 409, "budget_spent")
    assert f"ask for epsilon {refused['left']} at most" in refused["detail"]
    more = asked | {"epsilon": refused["left"] + 0.001}
    problem(ask(service, dataset_id, **more), 409, "budget_spent")
    train(service, dataset_id, **asked | {"epsilon": refused["left"]})
    spent = problem(ask(service, dataset_id, **asked), 409, "budget_spent")
    assert spent["detail"].endswith("(delta 1e-05): raise the budget")


def test_datasets_that_share_a_group_by_name_count_for_each_other(service):
    first = uploaded(service, files_of({"a": 2, "b": 2}))["id"]
    second = uploaded(service, files_of({"a": 1, "c": 3}, start=40))["id"]
    other = uploaded(service, files_of({"a": 2, "b": 2}, start=80, prefix="x"))["id"]
    for each in (first, second, other):
        budget(service, each, unit="group", epsilon=30.0)
    train(service, first)
    assert ledger(service, second)["elsewhere"] == 1
    assert ledger(service, second)["spent"]["epsilon"] == epsilon(NOISE / 7)
    assert ledger(service, other)["elsewhere"] == 0
    budget(service, second, epsilon=30.0)  # about images: they share none
    assert ledger(service, second)["elsewhere"] == 0


def test_an_image_of_several_groups_counts_for_each_of_them_here_and_there(either):
    """`mine` has an image in a and z; its row names both in one text."""
    spent = uploaded(either, files_of({"a": 2, "b": 2}))["id"]
    files = files_of({"z": 2, "y": 1}, start=40)
    rows = files["metadata.csv"].decode().replace("40.png,dog,z", "40.png,dog,z\nx.png,dog,a")
    mine = uploaded(either, files | {"metadata.csv": rows.encode(), "x.png": files["40.png"]})
    assert {each["group"] for each in listed(either, mine["id"])} == {"a\nz", "z", "y"}
    with transaction(either.state.reading) as session:
        assert shares(session, mine["id"], [spent], GROUP) == {spent}
        assert shares(session, spent, [mine["id"]], GROUP) == {mine["id"]}
        assert largest_group(session, mine["id"]) == 2
    for each in (spent, mine["id"]):
        budget(either, each, unit="group", epsilon=30.0)
    train(either, spent)
    assert ledger(either, mine["id"])["elsewhere"] == 1


def test_a_composition_of_promises_about_groups_is_told_for_groups_else_for_images(service):
    dataset_id = uploaded(service, files_of({"a": 3, "b": 2}))["id"]
    ids = [service.train(train(service, dataset_id)) for _ in range(2)]
    ids.append(service.train(train(service, dataset_id, unit="image")))

    def total(members: list[str]) -> tuple[str, float]:
        body = {"rule": "joint", "components": [{"id": each} for each in members]}
        service.client.put("/v1/compositions/some", json=body)
        found = service.client.get("/v1/compositions/some/privacy").json()
        return found["unit"], found["epsilon"]

    assert total(ids[:2]) == ("group", epsilon(NOISE, NOISE))
    assert total(ids[1:]) == ("image", epsilon(NOISE / 2, NOISE))


@pytest.mark.parametrize("other", ["dog", "cat"], ids=["two labels", "one label"])
def test_data_without_groups_or_with_an_image_in_two_are_refused_with_the_reason(either, other):
    bare = either.dataset({"cat": 3, "dog": 3})
    assert (
        "no training image has a group" in problem(ask(either, bare), 422, "bad_privacy")["detail"]
    )
    picture = image("cat", 1)
    rows = f"file_name,label,group\na.png,cat,p1\nb.png,{other},p2\nc.png,dog,p2"
    files = {
        "metadata.csv": rows.encode(),
        "a.png": picture,
        "b.png": picture,
        "c.png": image("dog", 2),
    }
    both = uploaded(either, files)["id"]
    assert "is in two groups" in problem(ask(either, both), 422, "bad_privacy")["detail"]
