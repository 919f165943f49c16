"""Unlearning an image that is repeated, concurrent or killed ends in the same state."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.database.sessions import transaction
from app.database.tables import Component
from app.files.sweep import UNCLAIMED_SECONDS, sweep
from app.unlearning import change_plan
from tests.support.client import delete, upload
from tests.support.deletions import add_images, delete_image, run_killed
from tests.support.images import image, packed
from tests.support.unlearning import FILES, GONE, SPACES, WITHOUT, delta, image_id, occurrences


def killed(service, dataset_id: str, gone: str, moment: str) -> None:
    """Delete the image in a process of its own, which is killed before or after its commit."""
    run_killed(delete_image, service.settings, dataset_id, gone, moment)


def trained(service, files) -> tuple[str, list[str]]:
    """Return a dataset and two components trained from it: an exact and an iterated one."""
    if service.client.get("/v1/spaces/blocks").status_code == 404:
        service.client.post("/v1/spaces", json={"name": "blocks"} | SPACES["blocks"])
    dataset_id = upload(service, packed(files))["id"]
    ids = [service.queued(dataset_id), service.queued(dataset_id, "blocks")]
    return dataset_id, [service.train(each) for each in ids]


def test_the_next_start_completes_a_change_killed_after_its_commit(serve):
    service, never = serve(), serve()
    dataset_id, (exact, iterated) = trained(service, FILES)
    _, (other, _) = trained(never, WITHOUT)
    gone = image_id(service, dataset_id)
    old = service.client.get(f"/v1/components/{iterated}").json()["sha256"]
    keys = set(service.state.blobs.keys("components"))

    killed(service, dataset_id, gone, "after")

    (receipt,) = service.client.get("/v1/receipts").json()["data"]
    found_ = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
    assert {each["kind"] for each in found_["residue"]} == {"blobs", "image_bytes"}
    answer = service.client.get(f"/v1/datasets/{dataset_id}/images/{gone}")
    assert answer.json()["receipt_id"] == receipt["id"]  # nobody is shown what is still there
    assert delta(service, exact).content == delta(never, other).content
    restarted = serve(data_dir=service.settings.data_dir)
    assert restarted.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]
    assert not keys & set(restarted.state.blobs.keys("components"))
    assert (
        not occurrences(restarted, image("dog", 2)[60:])
        and occurrences(restarted, old.encode()) == 1
    )
    assert restarted.client.get(f"/v1/components/{iterated}").json()["status"] == "queued"


def test_a_process_killed_before_its_commit_has_changed_nothing(serve):
    service = serve()
    dataset_id, ids = trained(service, FILES)
    gone = image_id(service, dataset_id)
    before = [delta(service, each).content for each in ids]
    keys = set(service.state.blobs.keys())

    killed(service, dataset_id, gone, "before")

    assert [delta(service, each).content for each in ids] == before
    assert service.client.get("/v1/receipts").json()["data"] == []
    (stray,) = set(service.state.blobs.keys()) - keys  # without the image; no row names it
    assert sweep(service.state.sessions, service.state.blobs) == []  # it may still get its row
    hours = time.time() - 2 * UNCLAIMED_SECONDS
    os.utime(service.state.blobs.path(stray), (hours, hours))
    assert sweep(service.state.sessions, service.state.blobs) == [stray]
    receipt = delete(service, f"datasets/{dataset_id}/images/{gone}")
    assert service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]


def test_many_requests_at_once_give_every_image_one_receipt(either):
    service, gone = either, [("cat", 0), ("dog", 2), ("dog", 3)]
    dataset_id, (exact, iterated) = trained(service, FILES)
    _, (other, last) = trained(service, [each for each in FILES if each not in gone])
    ids = [image_id(service, dataset_id, each) for each in gone]

    def ask(image: str) -> httpx.Response:
        url = f"{service.url}/v1/datasets/{dataset_id}/images/{image}"
        return httpx.delete(url, timeout=120, trust_env=False)

    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(ask, ids * 3))

    for each in ids:
        mine = [answer for answer in answers if answer.url.path.endswith(each)]
        assert sorted(answer.status_code for answer in mine) == [200, 410, 410]
        (receipt,) = (answer.json() for answer in mine if answer.status_code == 200)
        assert {a.json().get("receipt_id", receipt["id"]) for a in mine} == {receipt["id"]}
        assert service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]
    service.train(iterated)
    for one, another in ((exact, other), (iterated, last)):
        assert delta(service, one).content == delta(service, another).content
    shown = service.client.get(f"/v1/datasets/{dataset_id}").json()
    assert (shown["num_images"], shown["labels"]) == (6, {"cat": 4, "dog": 2})
    assert len(list(service.state.blobs.keys("components"))) == 4


def test_a_change_overtaken_by_another_process_is_planned_again(service, monkeypatch):
    dataset_id, (exact, _) = trained(service, FILES)
    first, second = (image_id(service, dataset_id, each) for each in (("dog", 2), ("cat", 1)))
    made, removal = [], change_plan.removal

    def overtaken(session, dataset_id, image_id):
        plan = removal(session, dataset_id, image_id)
        if not made:  # as if it had come from elsewhere: past the turn of this process
            made.append(image_id)
            killed(service, dataset_id, second, "after")
        return plan

    monkeypatch.setattr(change_plan, "removal", overtaken)
    receipt = delete(service, f"datasets/{dataset_id}/images/{first}")

    (down_dated, queued) = receipt["body"]["components"]
    assert (down_dated["id"], down_dated["outcome"]) == (exact, "down_dated")
    assert queued["outcome"] == "queued"
    never = upload(
        service, packed([each for each in FILES if each not in (("dog", 2), ("cat", 1))])
    )
    other = service.train(service.queued(never["id"]))
    assert delta(service, exact).content == delta(service, other).content
    assert receipt["number"] == 2


@pytest.mark.parametrize("damage", ["component", "image", "environment", "not_repeatable"])
def test_a_component_that_cannot_be_down_dated_is_trained_again(service, damage):
    dataset_id, (exact, _) = trained(service, FILES)
    gone = image_id(service, dataset_id)
    with transaction(service.state.sessions) as session:
        row = session.get(Component, exact)
        key = row.blob_key
        if damage == "environment":  # trained on a machine whose passes have other last bits
            row.metrics = row.metrics | {"environment": "another machine"}
        if damage == "not_repeatable":  # and on one whose passes have others each time
            row.metrics = row.metrics | {"not_repeatable": "put_ has no deterministic form"}
    if damage == "image":
        key = next(service.state.blobs.keys(f"datasets/{dataset_id}"))
    if damage in ("component", "image"):
        path = service.state.blobs.path(key)
        path.write_bytes(bytes(path.stat().st_size))

    receipt = delete(service, f"datasets/{dataset_id}/images/{gone}")

    assert {each["outcome"] for each in receipt["body"]["components"]} == {"retraining"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_addition_that_is_killed_has_happened_or_not_and_the_next_start_tidies_up(serve, moment):
    service, never = serve(), serve()
    whole = WITHOUT if moment == "before" else FILES
    dataset_id, (exact, _) = trained(service, WITHOUT)
    _, (other, _) = trained(never, whole)
    (pack,) = service.state.blobs.keys(f"datasets/{dataset_id}")

    run_killed(add_images, service.settings, dataset_id, packed([GONE]), moment)

    assert delta(service, exact).content == delta(never, other).content
    assert len(list(service.state.blobs.keys(f"datasets/{dataset_id}"))) == 2
    for path in service.state.blobs.root.rglob("*"):
        hours = time.time() - 2 * UNCLAIMED_SECONDS
        os.utime(path, (hours, hours))
    restarted = serve(data_dir=service.settings.data_dir)
    (left,) = restarted.state.blobs.keys(f"datasets/{dataset_id}")
    assert (left == pack) == (moment == "before")
    shown = restarted.client.get(f"/v1/datasets/{dataset_id}").json()
    assert shown["num_images"] == len(whole)
    receipts = restarted.client.get("/v1/receipts").json()["data"]
    assert len(receipts) == int(moment == "after")
    for each in receipts:
        assert restarted.client.post(f"/v1/receipts/{each['id']}/verify").json()["ok"]
    for content in whole:
        url = f"/v1/datasets/{dataset_id}/images/{image_id(restarted, dataset_id, content)}"
        assert restarted.client.get(url).content == image(*content)
