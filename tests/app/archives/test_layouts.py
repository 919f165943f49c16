"""Labels come from folders where they can tell them, and are never guessed."""

import re
from pathlib import Path

import pytest

from app.archives.layouts import masks, placed
from app.errors import Invalid


def labels(*paths: str) -> list[str | None]:
    return [found.label for found in placed(paths)]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["cat/1.png", "dog/2.png"], ["cat", "dog"]),
        (["cat/1.png", "cat/2.png"], ["cat", "cat"]),  # one label only is fine
        (["pets/cat/1.png", "pets/dog/2.png"], ["cat", "dog"]),
        (["a/b/cat/1.png", "a/b/dog/2.png"], ["cat", "dog"]),
        (["train/cat/1.png", "val/cat/2.png", "Test/dog/3.png"], ["cat", "cat", "dog"]),
        (["pets/train/cat/1.png", "pets/test/dog/2.png"], ["cat", "dog"]),
        (["train/cat/1.png"], ["cat"]),
        (["cat/train/1.png", "dog/test/2.png"], ["cat", "dog"]),
        (["cat/a/1.png", "cat/2.png", "dog/3.png"], ["cat", "cat", "dog"]),
        (["cat/1.png", "2.png"], ["cat", None]),
        (["preview.png", "pets/cat/1.png", "pets/dog/2.png"], [None, "cat", "dog"]),
        (["1.png", "2.png"], [None, None]),
        ([], []),
        (["train/1.png", "bus/2.png"], ["train", "bus"]),  # vehicles
        (["mask/1.png", "no mask/2.png"], ["mask", "no mask"]),
        (["photos/1.png", "drawings/2.png"], ["photos", "drawings"]),
        (["0/1.png", "1/2.png"], ["0", "1"]),
    ],
)
def test_the_folder_is_the_label(paths, expected):
    assert labels(*paths) == expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["train/1.png", "test/2.png"], [None, None]),
        (["train/1.png"], [None]),
        (["pets/train2017/1.png", "pets/val2017/2.png"], [None, None]),  # COCO
        (["train/cat/1.png", "test/2.png"], ["cat", None]),  # Kaggle
        (["trainval/cat/1.png", "test/dog/2.png"], ["cat", "dog"]),  # VOC
        (["train_val/cat/1.png", "test/dog/2.png"], ["cat", "dog"]),
        (["fold1/cat/1.png", "fold2/dog/2.png"], ["cat", "dog"]),
        (["k-fold_1/train/cat/1.png", "k-fold_2/val/dog/2.png"], ["cat", "dog"]),
        (["cat/1.png", "unlabeled/2.png"], ["cat", None]),
        (["train/cat/1.png", "train/dog/2.png", "unlabelled/3.png"], ["cat", "dog", None]),
        (["training_set/training_set/cat/1.png", "test_set/test_set/cat/2.png"], ["cat", "cat"]),
        (
            ["seg_train/seg_train/sea/1.png", "seg_test/seg_test/ice/2.png", "seg_pred/3.png"],
            ["sea", "ice", None],
        ),
    ],
)
def test_a_split_is_no_label(paths, expected):
    assert labels(*paths) == expected


PAGE = Path(__file__).resolve().parents[3] / "docs" / "uploads.md"
ROWS = re.findall(r"^\| (`.*`) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("files", "expected"), ROWS)
def test_the_page_on_uploads_tells_labels_as_they_are(files, expected):
    found = labels(*re.findall(r"`(.*?)`", files))
    assert ", ".join(label or "none" for label in found) == expected


def test_the_split_of_an_image_is_told():
    paths = ["x/train/cat/1.png", "x/Val/cat/2.png", "x/test/3.png"]
    assert [found.split for found in placed(paths)] == ["train", "Val", "test"]
    assert [found.split for found in placed(["pets/cat/1.png", "pets/dog/2.png"])] == [None, None]


@pytest.mark.parametrize(
    "paths",
    [
        ["images/1.png", "images/2.png"],
        ["images/train/1.png", "images/val/2.png"],  # YOLO
        ["train/images/1.png", "valid/images/2.png"],  # YOLO, as Roboflow exports it
        ["VOCdevkit/VOC2012/JPEGImages/1.png"],
        ["JPEGImages/1.png", "SegmentationClass/1.png"],
        ["images/1.png", "labels/1.png"],
        ["obj_train_data/1.png"],
    ],
)
def test_another_task_s_folders_are_no_labels(paths):
    assert set(labels(*paths)) == {None}


def test_masks_lie_beside_a_folder_of_images():
    paths = ["ill/images/1.png", "ill/masks/1.png", "well/Images/a/1.png", "well/mask/a/1.png"]
    assert list(masks(paths)) == [None, "ill/masks", None, "well/mask"]
    assert list(masks(["masks/1.png", "mask/1.png", "a/images/1.png", "b/masks/1.png"])) == 4 * [
        None
    ]


@pytest.mark.parametrize(
    "paths",
    [["pets/1.png", "pets/cat/2.png"], ["train/1.png", "train/cat/2.png", "test/dog/3.png"]],
)
def test_a_layout_that_may_mean_two_things_is_refused(paths):
    with pytest.raises(Invalid, match=r"images lie both in a folder \('.*1\.png'\)") as caught:
        labels(*paths)
    assert caught.value.code == "ambiguous_layout"


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (
            ("train/cat/1.png", "test/cat/2.png", "extra/3.png"),
            "'test', 'train', lie beside 'extra'",
        ),
        (("train/cat/1.png", "train/dog/2.png", "cv/cat/3.png"), "'train', lie beside 'cv'"),
        (("test/cat/1.png", "cat/2.png", "dog/3.png"), "'test', lie beside 'cat'"),
        (("Test/Cat/1.png", "cat/2.png"), "'Test', lie beside 'cat'"),
    ],
)
def test_splits_beside_another_folder_are_refused(paths, told):
    with pytest.raises(Invalid, match=told) as caught:
        labels(*paths)
    assert caught.value.code == "ambiguous_layout"


def test_a_label_may_have_the_name_of_a_split():
    assert set(labels("train/1.png", "bus/2.png")) == {"train", "bus"}
    assert set(labels("train/steam/1.png", "bus/red/2.png")) == {"train", "bus"}
    assert set(labels("eval/images/1.png", "cat/images/2.png")) == {"eval", "cat"}
    assert set(labels("training/train/1.png", "concert/train/2.png")) == {"training", "concert"}


def test_deep_paths_take_time_in_proportion_to_their_length():
    """Looking at every path again from its start for every level would take a minute here."""
    deep = "a/" * 500
    paths = [f"{deep}{number}.png" for number in range(4_000)]
    assert set(labels(*paths)) == {"a"}
