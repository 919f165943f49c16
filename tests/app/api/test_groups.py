"""Images of one group, given or alike, are held out together; what looks alike is told."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.database.sessions import transaction
from app.datasets import datasets, holdouts
from app.datasets.training_images import TRAINING
from tests.support.archives import archive
from tests.support.client import compose, delete
from tests.support.images import image
from tests.support.service import Service
from tests.support.splits import listed, uploaded
from tests.support.unlearning import delta
from training_worker import entries as training_entries
from training_worker import source

SCOPE = "head"


def photograph(number: int, quality: int) -> bytes:
    """A smooth random picture, saved as a JPEG of this quality."""
    shapes = np.random.default_rng(number).normal(0, 40, (9, 9, 3))
    picture = Image.fromarray(np.uint8(np.clip(128 + shapes, 0, 255))).resize((72, 72))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def grouped(count: int = 24) -> dict[str, bytes]:
    """Images of two labels and a manifest that puts three after each other into a group."""
    files, rows = {}, ["file_name,label,group"]
    for number in range(count):
        label = "cat" if number % 2 else "dog"
        files[f"{number}.png"] = image(label, number)
        rows.append(f"{number}.png,{label},{number // 3}")
    return {"metadata.csv": "\n".join(rows).encode()} | files


def test_pictures_that_were_saved_twice_are_told_and_those_across_splits_as_a_leak(either):
    files = {
        "train/cat/1.jpg": photograph(1, 95),
        "train/cat/1 again.jpg": photograph(1, 70),
        "train/cat/2.jpg": photograph(2, 95),
        "test/cat/2.jpg": photograph(2, 60),
        "test/cat/3.jpg": photograph(3, 95),
    }
    shown = uploaded(either, files)
    near = shown["near_duplicates"]
    assert (near["images"], near["held_back_like_training"], near["not_compared"]) == (4, 1, 0)
    assert sorted(pair["paths"] for pair in near["pairs"]) == [
        ["train/cat/1.jpg", "train/cat/1 again.jpg"],
        ["train/cat/2.jpg", "test/cat/2.jpg"],
    ]
    assert [pair["paths"] for pair in near["across_splits"]] == [
        ["train/cat/2.jpg", "test/cat/2.jpg"]
    ]
    assert all(pair["distance"] <= 7 for pair in near["pairs"])
    assert any(
        "images of val and test that look like training images: 1 (" in w for w in shown["warnings"]
    )
    assert either.client.get(f"/v1/datasets/{shown['id']}").json()["near_duplicates"] == near
    gone = listed(either, shown["id"], split="test")[0]
    delete(either, f"datasets/{shown['id']}/images/{gone['id']}")
    assert either.client.get(f"/v1/datasets/{shown['id']}").json()["near_duplicates"] is None


def test_an_image_shows_its_group(service):
    shown = uploaded(service, grouped(6))
    assert [each["group"] for each in listed(service, shown["id"])] == [
        "0",
        "0",
        "0",
        "1",
        "1",
        "1",
    ]
    assert shown["near_duplicates"]["images"] == 0


def entries(service: Service, dataset_id: str) -> list[source.Entry]:
    with transaction(service.state.reading) as session:
        return training_entries.entries(session, dataset_id)


def test_a_training_knows_groups_and_near_duplicates(either):
    shown = uploaded(either, grouped(6))
    found = entries(either, shown["id"])
    groups = source.groups(found)
    by_name: dict[Any, set[int]] = {}
    for entry, group in zip(found, groups, strict=True):
        by_name.setdefault(entry.group, set()).add(group)
    assert all(len(each) == 1 for each in by_name.values()) and len(set(groups)) == 2
    twice = uploaded(either, {"a/1.jpg": photograph(1, 95), "b/1.jpg": photograph(1, 70)})
    assert source.groups(entries(either, twice["id"])) == [0, 0]


def held_out(service: Service, dataset_id: str) -> set[str]:
    """The paths of the images that a fit of weights holds out."""
    with transaction(service.state.reading) as session:
        dataset = datasets.get(session, dataset_id)
        ids = holdouts.held_out(session, dataset, TRAINING, ["cat", "dog"])
    return {each["path"] for each in listed(service, dataset_id) if each["id"] in ids}


def test_weights_are_measured_on_whole_groups_which_a_deletion_leaves_as_never_added(either):
    dataset_id = uploaded(either, grouped())["id"]
    paths = held_out(either, dataset_id)
    groups = {int(path.removesuffix(".png")) // 3 for path in paths}
    assert paths == {f"{number}.png" for number in range(24) if number // 3 in groups}
    assert 0 < len(paths) < 24
    ids = [either.component({"cat": 4, "dog": 4}, start=70), either.component({"dog": 5}, start=80)]
    compose(either, "both", ids)
    answer = either.client.post("/v1/compositions/both/solve", json={"dataset_id": dataset_id})
    assert answer.json()["solved"]["num_holdout"] == len(paths)
    gone = next(each for each in listed(either, dataset_id) if each["path"] in paths)
    delete(either, f"datasets/{dataset_id}/images/{gone['id']}")
    without = {name: data for name, data in grouped().items() if name != gone["path"]}
    without["metadata.csv"] = b"\n".join(
        row
        for row in without["metadata.csv"].splitlines()
        if not row.startswith(gone["path"].encode() + b",")
    )
    assert held_out(either, dataset_id) == held_out(either, uploaded(either, without)["id"])


@pytest.mark.parametrize("count", [2, 6])
def test_with_few_groups_one_of_them_is_held_out(service, count):
    dataset_id = uploaded(service, grouped(3 * count))["id"]
    paths = held_out(service, dataset_id)
    assert 0 < len(paths) < 3 * count and len(paths) % 3 == 0


def test_groups_change_no_byte_of_a_component(service):
    plain = {name: data for name, data in grouped().items() if name != "metadata.csv"}
    rows = [row.rpartition(b",")[0] for row in grouped()["metadata.csv"].splitlines()]
    with_groups = uploaded(service, grouped())["id"]
    without = uploaded(service, {"metadata.csv": b"\n".join(rows)} | plain)["id"]
    one, other = (service.train(service.queued(each)) for each in (with_groups, without))
    assert delta(service, one).content == delta(service, other).content


def in_two_groups(part: str) -> dict[str, bytes]:
    """Images of one label, or one of them only, with a byte copy of one image in a second group."""
    table = [f"{group}{n}.png,cat,{group}" for group in part for n in range(3)]
    table += [f"x{group}.png,cat,{group}" for group in part]
    files = {f"{group}{n}.png": image(f"of {group}", n) for group in part for n in range(3)}
    files |= {f"x{group}.png": image("x", 1) for group in part}
    return {"metadata.csv": "\n".join(["file_name,label,group", *table]).encode()} | files


@pytest.mark.parametrize("parts", [["gh"], ["g", "h"], ["h", "g"]], ids=["one", "parts", "turned"])
def test_groups_with_the_bytes_of_one_image_are_one_until_it_is_removed(service, parts):
    first, *rest = parts
    dataset_id = uploaded(service, in_two_groups(first))["id"]
    for part in rest:
        files = {"file": ("more.zip", archive(in_two_groups(part)))}
        added = service.client.post(f"/v1/datasets/{dataset_id}/images", files=files)
        assert added.status_code == 200, added.text

    found = listed(service, dataset_id)
    (shared,) = (each for each in found if each["group"] == "g\nh")
    assert len(found) == 7 and set(source.groups(entries(service, dataset_id))) == {0}

    delete(service, f"datasets/{dataset_id}/images/{shared['id']}")
    assert len(set(source.groups(entries(service, dataset_id)))) == 2
