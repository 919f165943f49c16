"""Deletions give no part of a budget back: of copies, of images, one by one or many at once."""

import pytest
from sqlalchemy import func, select

from app.database.sessions import transaction
from app.database.tables import CarriedSpend, Dataset, Image
from app.datasets import privacy_sharing
from tangent.training.privacy import public_images
from tests.support.privacy import ask, budget, files_of, ledger, train
from tests.support.problems import problem
from tests.support.splits import listed, uploaded

COUNTS = {"cat": 3, "dog": 3}


@pytest.fixture(autouse=True)
def few_public_images(monkeypatch):
    monkeypatch.setattr(public_images, "COUNT", 64)


def released(service, dataset_id: str, **terms) -> str:
    return service.train(train(service, dataset_id, unit="image", **terms))


def ok(answer) -> None:
    assert answer.status_code == 200, answer.text


def delete_component(service, component_id: str) -> None:
    ok(service.client.delete(f"/v1/components/{component_id}"))


def delete_dataset(service, dataset_id: str) -> None:
    ok(service.client.delete(f"/v1/datasets/{dataset_id}?cascade=true"))


def delete_images(service, dataset_id: str, ids: list[str]) -> None:
    address = f"/v1/datasets/{dataset_id}/images"
    if len(ids) == 1:
        ok(service.client.delete(f"{address}/{ids[0]}"))
    else:
        ok(service.client.post(f"{address}/delete", json={"ids": ids}))


def spent(service, dataset_id: str) -> tuple:
    found = ledger(service, dataset_id)
    return found["elsewhere"], found["spent"], found["left"]


def test_the_deletion_of_a_copy_leaves_what_it_spent(either):
    first, copy = either.dataset(COUNTS), either.dataset(COUNTS | {"eel": 1})
    apart = either.dataset(COUNTS, start=50)
    for each in (first, apart):
        budget(either, each)
    released(either, copy)
    before = [spent(either, each) for each in (first, apart)]
    assert before[0][0] == 1
    delete_dataset(either, copy)
    assert [spent(either, each) for each in (first, apart)] == before
    problem(ask(either, first, unit="image"), 409, "budget_spent")


@pytest.mark.parametrize("shared", [1, 3], ids=["one", "batch"])
@pytest.mark.parametrize("of_the_copy", [True, False])
def test_the_deletion_of_the_images_that_two_share_leaves_it_as_well(service, shared, of_the_copy):
    first = service.dataset(COUNTS)
    copy = service.dataset({"cat": shared, "owl": 4})
    budget(service, first)
    delete_component(service, released(service, copy))
    before = spent(service, first)
    where = copy if of_the_copy else first
    hashes = [{each["sha256"] for each in listed(service, one)} for one in (first, copy)]
    both = [
        each["id"] for each in listed(service, where) if each["sha256"] in set.intersection(*hashes)
    ]
    assert len(both) == shared
    delete_images(service, where, both)
    assert spent(service, first) == before
    with transaction(service.state.reading) as session:
        assert not privacy_sharing.shares(session, first, [copy], "group")
    delete_dataset(service, copy)
    assert spent(service, first) == before


def test_later_releases_of_what_shares_no_more_count_no_more(service):
    first, copy = service.dataset(COUNTS), service.dataset({"cat": 1, "emu": 3, "owl": 3})
    delete_component(service, released(service, copy))
    cat = next(each["id"] for each in listed(service, copy) if each["label"] == "cat")
    delete_images(service, copy, [cat])
    before = spent(service, first)
    released(service, copy)
    assert spent(service, first) == before


def test_a_training_that_a_deletion_ends_is_returned_for_all(service):
    first, copy = service.dataset(COUNTS), service.dataset(COUNTS)
    budget(service, first)
    before = spent(service, first)
    train(service, copy, unit="image")
    assert spent(service, first) != before
    delete_dataset(service, copy)
    assert spent(service, first) == before


def test_groups_of_one_name_count_after_a_deletion_and_for_groups_alone(service):
    first = uploaded(service, files_of({"a": 2, "b": 2}))["id"]
    second = uploaded(service, files_of({"a": 1, "c": 3}, start=40))["id"]
    budget(service, first, unit="group", epsilon=30.0)
    service.train(train(service, second))
    before = spent(service, first)
    assert before[0] == 1
    delete_dataset(service, second)
    assert spent(service, first) == before
    budget(service, first, epsilon=30.0)
    assert spent(service, first)[0] == 0


def test_a_group_that_gets_smaller_has_been_in_as_many_steps_as_before(service):
    first = uploaded(service, files_of({"a": 4, "b": 1}))["id"]
    copy = uploaded(service, files_of({"a": 4, "b": 1}))["id"]
    budget(service, first, unit="group", epsilon=90.0)
    service.train(train(service, copy, unit="image", epsilon=0.3))
    before = spent(service, first)
    group = [each["id"] for each in listed(service, first) if each["group"] == "a"]
    delete_images(service, first, group[1:])
    assert spent(service, first) == before


def test_a_world_without_private_trainings_keeps_nothing_of_what_is_deleted(service):
    first, copy = service.dataset(COUNTS), service.dataset(COUNTS)
    delete_images(service, first, [listed(service, first)[0]["id"]])
    delete_dataset(service, copy)
    with transaction(service.state.reading) as session:
        assert session.scalar(select(func.count()).select_from(CarriedSpend)) == 0


def add_copies(session, dataset_id: str, count: int) -> None:
    """Add datasets of the same images, whose ids come before its own."""
    dataset = session.get_one(Dataset, dataset_id)
    images = session.scalars(select(Image).where(Image.dataset_id == dataset_id)).all()
    for number in range(count):
        copy = f"ds_{number:024x}"
        session.add(Dataset(**columns(dataset) | {"id": copy, "pack_key": copy}))
        session.flush()
        image = columns(images[number % len(images)])
        session.add(Image(**image | {"id": f"img_{number:024x}_000000", "dataset_id": copy}))


def columns(row) -> dict:
    names = [each.key for each in row.__table__.columns if each.key != "checksum"]
    return {name: getattr(row, name) for name in names}


def test_a_budget_counts_however_many_datasets_share_an_image(service):
    guarded, copy = service.dataset(COUNTS), service.dataset(COUNTS)
    with transaction(service.state.sessions) as session:
        add_copies(session, copy, 1001)
    budget(service, guarded)
    train(service, copy, unit="image")
    assert spent(service, guarded)[0] == 1
    problem(ask(service, copy, unit="image"), 409, "budget_spent")
