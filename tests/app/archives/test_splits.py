"""Every image keeps its split and its group, from folders or a manifest; equal bytes have one."""

import io
from pathlib import Path

import pytest

from app.archives import layouts, splits, uploads
from app.errors import Invalid
from tests.support.archives import LIMITS, archive, noise, noise_at


def received(path: Path, files: dict[str, bytes]) -> uploads.Upload:
    with uploads.receive(io.BytesIO(archive(files)), path / "pack", LIMITS) as upload:
        return upload


def kept(path: Path, files: dict[str, bytes]) -> dict[str, str | None]:
    """The split of every image by its path."""
    return {each.image.path: each.split for each in received(path, files).images}


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ["train", "Training", "train_set", "train2017", "training images", "trainval"]),
        ("val", ["val", "valid", "VALIDATION", "dev", "eval", "val_data", "validation_set 2"]),
        ("test", ["test", "Testing", "test-images", "holdout", "predict", "test_1"]),
        ("test", ["hold-out", "Hold_out_set"]),
        (None, ["fold1", "unlabelled", "k-fold_3"]),
    ],
)
def test_names_of_splits(split, names):
    assert all(splits.is_split(name) for name in names)
    assert {splits.named(name) for name in names} == {split}


def test_other_names_are_no_splits():
    assert not any(
        map(splits.is_split, ["cat", "trains", "tested", "value", "device", "seg_train"])
    )
    assert layouts.split_of("seg_train") == "train" and layouts.split_of("seg-test") == "test"


def test_a_long_name_is_no_split_and_takes_no_time():
    """Each of these runs could be read in more ways than can be tried one after the other."""
    for name in ("train" + "1" * 58 + "x", "val" + "data" * 15 + "x", "test" + "0" * 100_000):
        assert not splits.is_split(name)
    assert splits.is_split("train20240101") and splits.is_split("val_data_2")


def test_the_strictest_split_wins():
    assert splits.strictest(["train", None]) == "train"
    assert splits.strictest([None, "val", "train"]) == "val"
    assert splits.strictest(["test", "val", "train", None]) == "test"
    assert splits.strictest([None, None]) is None


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["train/cat/1.png", "valid/cat/2.png"], ["train", "val"]),
        (["x/train/cat/1.png", "x/Test/cat/2.png"], ["train", "test"]),
        (["cat/train/1.png", "dog/val/2.png"], ["train", "val"]),  # within the labels
        (["cat/old/test/1.png", "dog/2.png"], ["test", None]),
        (["fold1/cat/1.png", "fold2/cat/2.png"], [None, None]),
        (["k-fold_1/train/cat/1.png", "k-fold_2/val/cat/2.png"], [None, None]),
        (["cat/1.png", "dog/2.png"], [None, None]),
        (["seg_train/sea/1.png", "seg_test/sea/2.png"], ["train", "test"]),
    ],
)
def test_folders_tell_the_split(tmp_path, paths, expected):
    assert list(kept(tmp_path, noise_at(*paths)).values()) == expected


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_manifest_tells_splits_and_groups(tmp_path, ending):
    files = noise_at("1.png", "2.png", "3.png", "4.png")
    csv = "file_name,label,Split,Group\n1.png,cat,training,a\n2.png,cat,,7\n3.png,cat,test,a\n"
    csv += "4.png,dog,validation,\n"
    jsonl = (
        '{"file_name": "1.png", "label": "cat", "split": "training", "group": "a"}\n'
        '{"file_name": "2.png", "label": "cat", "split": null, "group": 7}\n'
        '{"file_name": "3.png", "label": "cat", "split": "test", "group": "a"}\n'
        '{"file_name": "4.png", "label": "dog", "split": "validation"}\n'
    )
    text = {"csv": csv, "jsonl": jsonl}[ending]
    upload = received(tmp_path, {f"metadata.{ending}": text.encode()} | files)
    assert [each.split for each in upload.images] == ["train", None, "test", "val"]
    assert [each.group for each in upload.images] == ["a", "7", "a", None]
    assert upload.splits == {"test": 1, "train": 1, "val": 1}


def test_folders_tell_the_split_where_a_manifest_does_not(tmp_path):
    files = noise_at("train/1.png", "validation/2.png", "validation/3.png")
    table = b"file_name,label,split\n1.png,cat,\n"
    other = b"file_name,label,split\n2.png,cat,\n3.png,cat,train\n"
    found = kept(tmp_path, {"train/metadata.csv": table, "validation/metadata.csv": other} | files)
    assert found == {"train/1.png": "train", "validation/2.png": "val", "validation/3.png": "train"}


def test_a_folder_called_test_may_be_a_group_of_people_where_none_is_for_training(tmp_path):
    files = noise_at("control/1.png", "test/2.png")
    table = b"file_name,label\ncontrol/1.png,ill\ntest/2.png,well\n"
    assert set(kept(tmp_path, {"metadata.csv": table} | files).values()) == {None}


def test_a_split_that_nobody_knows_is_not_trained_on(tmp_path):
    files = noise_at("1.png", "2.png")
    table = b"file_name,label,split\n1.png,cat,train\n2.png,cat,secret\n"
    upload = received(tmp_path, {"metadata.csv": table} | files)
    assert [each.image.path for each in upload.images] == ["1.png"]
    (rejected,) = upload.rejected.listed
    assert rejected["reason"].startswith(
        "its split in metadata.csv, line 3, is none of train, val, test (secret)"
    )


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("train,a", "val,a", "the split 'val', another line 'train'"),
        ("train,a", "train,b", "the group 'b', another line 'a'"),
        ("train,a", ",a", "the split none, another line 'train'"),
    ],
)
def test_two_rows_of_an_image_say_the_same(tmp_path, first, second, told):
    table = f"file_name,label,split,group\n1.png,cat,{first}\n1.png,cat,{second}\n"
    with pytest.raises(Invalid, match=told) as caught:
        received(tmp_path, {"metadata.csv": table.encode()} | noise_at("1.png"))
    assert caught.value.code == "manifest_conflict"


def test_a_file_is_kept_for_what_was_told_under_its_own_label(tmp_path):
    """The split of its copy under another label counts, and goes with that copy."""
    same = noise(1)
    files = {"train/cat/1.png": same, "val/cat/2.png": same, "test/dog/3.png": same}
    images = received(tmp_path, files).images
    assert [(each.image.path, each.split, each.own_split) for each in images] == [
        ("val/cat/2.png", "test", "val"),
        ("test/dog/3.png", "test", "test"),
    ]


def test_equal_files_are_one_image_in_the_strictest_of_their_splits(tmp_path):
    files = {
        "train/cat/1.png": noise(1),
        "val/cat/2.png": noise(1),
        "test/cat/3.png": noise(2),
        "train/cat/4.png": noise(2),
        "train/dog/5.png": noise(
            2
        ),  # under another label it is another image, and a test all the same
        "train/dog/6.png": noise(3),
    }
    upload = received(tmp_path, files)
    assert {each.image.path: each.split for each in upload.images} == {
        "val/cat/2.png": "val",
        "test/cat/3.png": "test",
        "train/dog/5.png": "test",
        "train/dog/6.png": "train",
    }
    assert [each.own_split for each in upload.images] == ["val", "test", "train", "train"]
    assert upload.splits == {"test": 2, "train": 1, "val": 1}
    assert any(
        each.startswith("images that lie in several splits, byte for byte: 2 (")
        for each in upload.warnings
    )
    assert [each.copies for each in upload.images] == [2, 2, 1, 1]
