"""What may not be as meant in the labels of an upload is told; nothing is refused for it."""

import pytest

from app.archives.label_warnings import warnings_of
from app.archives.outcomes import AcceptedImage, LabelledFile
from app.archives.splits import named
from app.images.image_files import Facts

FACTS = Facts("image/png", 8, 8, None)


def told(*paths: str, by_folders: bool = True) -> str:
    labelled = [
        LabelledFile(
            path.split("/")[0], None, None, None, AcceptedImage(path, path.encode(), FACTS)
        )
        for path in paths
    ]
    return "\n".join(warnings_of(labelled, by_folders=by_folders))


def told_of_splits(**contents: str) -> str:
    """Warnings of files of one label: the folder of each, and its content."""
    labelled = [
        LabelledFile(
            "cat",
            named(folder),
            None,
            folder,
            AcceptedImage(f"{folder}/{each}", each.encode(), FACTS),
        )
        for folder, some in contents.items()
        for each in some
    ]
    return "\n".join(warnings_of(labelled, by_folders=False))


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (["100CANON", "101CANON"], "look like folders that a camera or a phone has made"),
        (["100APPLE", "101APPLE"], "look like folders that a camera"),
        (["100_PANA"], "look like folders that a camera"),
        (["Camera"], "look like folders that a camera"),
        (["2024-01-31", "2024-02-01"], "'2024-01-31', '2024-02-01' look like dates"),
        (["20240131 Berlin", "20240201"], "look like dates"),
        (["2023", "2024"], "look like dates"),
        (["HAM10000_images_part_1", "HAM10000_images_part_2"], "look like pieces of one dataset"),
        (["batch1", "batch2"], "look like pieces of one dataset"),
        (["nan", "cat"], "the labels 'nan' look like missing values"),
        (["0.0", "1.0"], "'0.0', '1.0' look like whole numbers that became fractions"),
        (["train", "extra"], "the labels 'train' look like names of splits"),
        (["my photos"], "all images have one label, 'my photos', the name of the folder around"),
        (["Cat", "cat", "dog"], "labels look alike and are different ones: 'Cat', 'cat'"),
        (["new york", "new_york"], "look alike"),
        (["cat", "ca\u200bt"], "look alike"),
        (["ｃａｔ", "cat"], "look alike"),
    ],
)
def test_labels_that_may_not_be_meant_are_told(folders, sentence):
    assert sentence in told(*(f"{folder}/1.png" for folder in folders))


@pytest.mark.parametrize(
    "paths",
    [
        ["cat/1.png", "dog/2.png"],
        ["0/1.png", "1/2.png", "10/3.png"],
        ["1999/1.png", "cat/2.png"],  # not all are dates
        ["cat/train/1.png", "dog/train/2.png"],
        ["cat/images/1.png", "dog/images/2.png"],
        ["cat/a/1.png", "dog/b/2.png"],
        ["می\u200cخواهم/1.png", "کتاب/2.png"],
    ],
)
def test_ordinary_labels_have_no_warning(paths):
    assert told(*paths) == ""


def test_folders_that_come_again_within_several_labels_may_be_the_labels():
    found = told("ada/cat/1.png", "ada/dog/2.png", "eve/cat/3.png")
    assert "the folders 'cat' lie within several labels ('ada', 'eve')" in found


def test_splits_that_are_no_training_and_no_test_are_merged_and_told():
    assert "the folders 'fold1', 'fold2' are merged" in told_of_splits(fold1="a", fold2="b")


def test_the_same_bytes_in_several_splits_are_told():
    found = told_of_splits(train="abc", val="bd", test="cd")
    assert found.startswith(
        "images that lie in several splits, byte for byte: 3 (train/b and val/b; "
    )
    assert told_of_splits(train="aab", val="c", test="dd") == ""


def test_a_dataset_without_training_images_is_told():
    found = told_of_splits(test="ab", val="c")
    assert found == "all images are in test and val: no component can be trained from this dataset"


def test_a_manifest_has_said_what_it_means():
    assert told("2023/1.png", "2024/1.png", by_folders=False) == ""
