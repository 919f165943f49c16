"""Components are trained on train and on images without a split; val and test are held back."""

import pytest

from app.database.sessions import transaction
from app.database.tables import Component
from tests.support.client import delete
from tests.support.merging import ask, queued
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.splits import component, files_of, listed, uploaded
from tests.support.unlearning import delta
from training_worker import deriving
from training_worker.entries import entries

SCOPE = "head"
SPLIT = {"train": {"cat": 5, "dog": 4}, "val": {"cat": 2, "emu": 1}, "test": {"dog": 3}}
TRAIN = {"train": SPLIT["train"]}


def trained(service: Service, splits: dict[str, dict[str, int]]) -> tuple[str, str]:
    """Upload these images and train from them; return the ids of dataset and component."""
    dataset_id = uploaded(service, files_of(splits))["id"]
    return dataset_id, service.train(service.queued(dataset_id))


def test_an_upload_keeps_the_split_of_every_image(either):
    shown = uploaded(either, files_of(SPLIT | {"": {}}))
    assert shown["splits"] == {"test": 3, "train": 9, "val": 3} and shown["warnings"] == []
    assert shown["num_images"] == 15 and shown["labels"] == {"cat": 7, "dog": 7, "emu": 1}
    summary = either.client.get("/v1/datasets").json()["data"][0]
    assert summary["splits"] == shown["splits"]
    for split, labels in SPLIT.items():
        some = listed(either, shown["id"], split=split)
        assert [each["split"] for each in some] == [split] * sum(labels.values())
    assert listed(either, shown["id"], split="none") == []
    assert len(listed(either, shown["id"])) == 15
    refused = either.client.get(f"/v1/datasets/{shown['id']}/images?split=training")
    assert refused.status_code == 422


def test_a_component_is_that_of_the_training_images_alone(either):
    dataset_id, component_id = trained(either, SPLIT)
    _, alone = trained(either, TRAIN)
    _, unsplit = trained(either, {"": SPLIT["train"]})
    uploaded(either, files_of({"val": SPLIT["val"]}))
    shown = component(either, component_id)
    assert shown["images"] == SPLIT["train"]
    assert delta(either, component_id).content == delta(either, alone).content
    assert delta(either, component_id).content == delta(either, unsplit).content
    with transaction(either.state.reading) as session:
        assert [each.label for each in entries(session, dataset_id)] == ["cat"] * 5 + ["dog"] * 4


def test_a_component_is_verified_by_its_training_images(service):
    _, component_id = trained(service, SPLIT)
    found = service.client.post(f"/v1/components/{component_id}/verify").json()
    assert found["ok"] is True, found
    assert found["images"]["count"] == 9


def test_images_without_a_split_are_trained_on(service):
    table = "file_name,label,split\na.png,cat,test\nb.png,cat,\nc.png,cat,train\n"
    files = dict(zip("abc", files_of({"": {"cat": 3}}).values(), strict=True))
    named = {f"{name}.png": data for name, data in files.items()}
    shown = uploaded(service, {"metadata.csv": table.encode()} | named, train="true")
    assert shown["component"]["images"] == {"cat": 2}
    assert [each["path"] for each in listed(service, shown["id"], split="none")] == ["b.png"]


def test_a_dataset_that_is_held_back_cannot_be_trained_from(service):
    held = {"val": {"cat": 2}, "test": {"dog": 2}}
    shown = uploaded(service, files_of(held))
    (warning,) = shown["warnings"]
    assert warning.startswith("all images are in test and val")
    answer = service.client.post("/v1/components", json={"dataset_id": shown["id"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "nothing_to_train")
    assert "are in test and val" in answer.json()["detail"]


def test_unlearning_a_held_back_image_leaves_the_component_as_it_is(either):
    dataset_id, component_id = trained(either, SPLIT)
    before = component(either, component_id)
    gone = listed(either, dataset_id, split="val")[0]

    receipt = delete(either, f"datasets/{dataset_id}/images/{gone['id']}")

    assert receipt["body"]["components"] == [
        {
            "id": component_id,
            "outcome": "unaffected",
            "old_sha256": before["sha256"],
            "new_sha256": before["sha256"],
        }
    ]
    (manifest,) = receipt["body"]["manifests"]
    assert manifest["before"] == manifest["after"]
    assert component(either, component_id) == before
    shown = either.client.get(f"/v1/datasets/{dataset_id}").json()
    assert shown["splits"] == {"test": 3, "train": 9, "val": 2}
    assert either.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]


def test_unlearning_a_training_image_gives_the_component_without_it(either):
    dataset_id, component_id = trained(either, SPLIT)
    gone = listed(either, dataset_id, split="train", label="dog")[-1]
    delete(either, f"datasets/{dataset_id}/images/{gone['id']}")
    _, never = trained(either, {"train": {"cat": 5, "dog": 3}})
    assert component(either, component_id)["images"] == {"cat": 5, "dog": 3}
    assert delta(either, component_id).content == delta(either, never).content


def test_the_last_training_image_stays_while_a_component_needs_it(service):
    dataset_id, component_id = trained(service, {"train": {"cat": 1}, "val": {"cat": 3}})
    (last,) = listed(service, dataset_id, split="train")
    path = f"/v1/datasets/{dataset_id}/images/{last['id']}"
    answer = service.client.delete(path)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_left_to_train")
    assert answer.json()["components"] == [component_id]
    delete(service, f"components/{component_id}")
    assert service.client.delete(path).status_code == 200


@pytest.mark.parametrize("old", ["emu", "cat"])
def test_renaming_labels_counts_the_training_images_alone(service, old):
    """`emu` is a label of val only, `cat` one of train and val."""
    dataset_id, component_id = trained(service, SPLIT)
    before = component(service, component_id)
    answer = service.client.post(f"/v1/datasets/{dataset_id}/labels", json={"rename": {old: "dog"}})
    assert answer.status_code == 200, answer.text
    (outcome,) = answer.json()["receipt"]["body"]["components"]
    after = component(service, component_id)
    if old == "emu":
        assert outcome["outcome"] == "unaffected" and after == before
    else:
        assert outcome["outcome"] == "relabelled" and after["images"] == {"dog": 9}


def test_a_held_back_image_is_in_no_component(service):
    dataset_id, component_id = trained(service, SPLIT)
    of = {split: listed(service, dataset_id, split=split)[0]["sha256"] for split in SPLIT}
    found = {
        split: service.client.get(f"/v1/images?sha256={sha256}").json()["data"][0]["components"]
        for split, sha256 in of.items()
    }
    assert found == {"train": [component_id], "val": [], "test": []}
    preview = service.client.get(f"/v1/components/{component_id}/deletion-preview").json()
    assert preview["also_held"]["datasets"] == [{"dataset_id": dataset_id, "images": 9}]


def test_labels_that_are_merged_give_an_image_the_first_group_of_its_equals(service):
    table = "file_name,label,group\n1.png,cat,\n2.png,tom,b\n3.png,dog,\n"
    same, other = files_of({"": {"cat": 1, "dog": 1}}).values()
    files = {"metadata.csv": table.encode(), "1.png": same, "2.png": same, "3.png": other}
    dataset_id = uploaded(service, files)["id"]
    answer = service.client.post(
        f"/v1/datasets/{dataset_id}/labels", json={"rename": {"tom": "cat"}}
    )
    assert answer.status_code == 200, answer.text
    found = [(each["path"], each["group"]) for each in listed(service, dataset_id)]
    never = {**files, "metadata.csv": table.replace("tom", "cat").encode()}
    assert found == [("1.png", "b"), ("3.png", None)]
    assert found == [
        (each["path"], each["group"]) for each in listed(service, uploaded(service, never)["id"])
    ]


def test_at_a_block_scope_nothing_sees_a_held_back_image_either(service):
    body = {"name": "blocks", "backbone": "resnet_micro_32", "scope": "last-block"}
    assert service.client.post("/v1/spaces", json=body).status_code == 201
    ids = []
    for labels in ({"cat": 3, "dog": 2}, {"cow": 3, "dog": 1}):
        files = files_of({"train": labels, "test": {"emu": 2}})
        dataset_id = uploaded(service, files)["id"]
        ids.append(service.train(service.queued(dataset_id, space="blocks")))
    before = component(service, ids[0])
    refined = queued(service, "refine", *ids)
    with transaction(service.state.reading) as session:
        plan = deriving.plan(session, session.get_one(Component, refined))
    seen = [[each.label for each in parent.images.entries] for parent in plan.parents]
    assert seen == [["cat"] * 3 + ["dog"] * 2, ["cow"] * 3 + ["dog"]]
    gone = listed(service, before["dataset_id"], split="test")[0]
    receipt = delete(service, f"datasets/{before['dataset_id']}/images/{gone['id']}")
    assert [each["outcome"] for each in receipt["body"]["components"]] == ["unaffected"]
    assert component(service, ids[0]) == before
    assert component(service, refined)["status"] == "queued"


def test_a_derivation_is_fitted_to_training_images(service):
    parents = [service.component({"cat": 4}), service.component({"dog": 4})]
    held = uploaded(service, files_of({"val": {"cat": 3, "dog": 3}}))["id"]
    answer = ask(service, "atlas", *parents, dataset_id=held)
    problem(answer, 422, "nothing_to_train")
    mixed = uploaded(service, files_of({"train": {"cat": 2, "dog": 1}, "val": {"cat": 3}}))["id"]
    queued_id = queued(service, "atlas", *parents, dataset_id=mixed)
    with transaction(service.state.reading) as session:
        plan = deriving.plan(session, session.get_one(Component, queued_id))
    assert [each.label for each in plan.examples.entries] == ["cat", "cat", "dog"]
