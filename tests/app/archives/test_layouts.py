"""Labels come from folders, or from a manifest that decides alone."""

import json

import pytest

from app.archives.layouts import Manifest, folder_labels, label_fault, may_be_manifest
from app.errors import Invalid, TooLarge


def labels(*paths: str) -> list[str | None]:
    return list(folder_labels(paths))


def manifest(path: str, text: str | bytes, most: int = 100) -> Manifest:
    made = Manifest(most)
    assert made.add(path, text if isinstance(text, bytes) else text.encode())
    return made


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
        (["train/1.png", "test/2.png"], ["train", "test"]),  # no folder within: these are labels
        (["cat/train/1.png", "dog/test/2.png"], ["cat", "dog"]),
        (["cat/a/1.png", "cat/2.png", "dog/3.png"], ["cat", "cat", "dog"]),
        (["cat/1.png", "2.png"], ["cat", None]),
        (["preview.png", "pets/cat/1.png", "pets/dog/2.png"], [None, "cat", "dog"]),
        (["1.png", "2.png"], [None, None]),
        ([], []),
    ],
)
def test_the_folder_is_the_label(paths, expected):
    assert labels(*paths) == expected


@pytest.mark.parametrize(
    "paths",
    [["pets/1.png", "pets/cat/2.png"], ["train/1.png", "train/cat/2.png", "test/dog/3.png"]],
)
def test_a_layout_that_may_mean_two_things_is_refused(paths):
    with pytest.raises(Invalid, match=r"images lie both in a folder \('.*1\.png'\)") as caught:
        labels(*paths)
    assert caught.value.code == "ambiguous_layout"


def test_a_csv_manifest_gives_labels_relative_to_its_own_folder():
    text = "file_name,label\n1.png,cat\nsub/2.png, dog \n"
    assert manifest("metadata.csv", text).labels == {"1.png": "cat", "sub/2.png": "dog"}
    found = manifest("train/metadata.csv", text).labels
    assert found == {"train/1.png": "cat", "train/sub/2.png": "dog"}


def test_a_jsonl_manifest_may_have_numbers_as_labels_and_other_fields():
    rows = [{"file_name": "1.png", "label": 3, "width": 9}, {"file_name": "2.png", "label": "x"}]
    text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    assert manifest("data.JSONL", text).labels == {"1.png": "3", "2.png": "x"}


def test_a_manifest_may_have_quotes_a_mark_of_order_and_windows_ways():
    text = '\ufefffile_name,label,note\r\n"a\\1.png","big, grey cat",x\r\n'
    assert manifest("labels.csv", text).labels == {"a/1.png": "big, grey cat"}


def test_labels_that_cannot_be_are_rejected_with_their_line():
    found = manifest("metadata.csv", "file_name,label\n1.png,\n2.png,a\x07b\n3.png,cat\n")
    assert found.labels == {"3.png": "cat"}
    assert found.rejected["1.png"] == "its label in metadata.csv, line 2, is empty"
    assert "U+0007, which is a control" in found.rejected["2.png"]


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("metadata.csv", "file_name,text\n1.png,cat\n", "needs the fields file_name and label"),
        ("metadata.csv", "file_name,label\n", "lists no image"),
        ("manifest.csv", "", "lists no image"),
        ("metadata.csv", "file_name,label\n,cat\n", "its file_name is empty"),
        ("metadata.jsonl", "{", "line 1: it is not JSON"),
        ("metadata.jsonl", '\n["a"]', "line 2: it is not a JSON object"),
        ("metadata.jsonl", "[" * 100_000, "it is not JSON"),
        ("metadata.csv", b"file_name,label\n\xff.png,cat\n", "not in UTF-8"),
        ("metadata.csv", b"file_name,label\n" + b"x" * 200_000 + b",cat\n", "line 2: field larger"),
    ],
)
def test_a_malformed_manifest_is_refused_with_its_place(path, text, told):
    with pytest.raises(Invalid, match=told) as caught:
        manifest(path, text)
    assert caught.value.code == "manifest_malformed"
    assert path in caught.value.detail


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", b"\xff\xfe", "{}", "x" * 200_000])
def test_another_table_is_no_manifest(text):
    data = text if isinstance(text, bytes) else text.encode()
    for path in ("notes.csv", "notes.jsonl"):
        made = Manifest(100)
        assert not made.add(path, data)
        assert not made.has_rows


def test_two_labels_for_one_image_are_refused():
    with pytest.raises(Invalid, match=r"line 3, gives '1\.png' the label 'dog', another") as caught:
        manifest("metadata.csv", "file_name,label\n1.png,cat\n./1.png,dog\n")
    assert caught.value.code == "manifest_conflict"


@pytest.mark.parametrize("name", ["../1.png", "/etc/passwd", "C:\\1.png"])
def test_a_manifest_cannot_point_outside(name):
    with pytest.raises(Invalid) as caught:
        manifest("a/metadata.csv", f"file_name,label\n{name},cat\n")
    assert caught.value.code == "unsafe_path"


def test_the_rows_of_manifests_are_bounded():
    text = "file_name,label\n" + "".join(f"{i}.png,cat\n" for i in range(11))
    with pytest.raises(TooLarge, match="lists more than the 10 images") as caught:
        manifest("metadata.csv", text, most=10)
    assert caught.value.code == "too_many_images"


def test_a_label_is_printable_text_of_some_length():
    assert label_fault("a cat, 猫") is None
    for bad in ("", "  ", None, 1.5, True, "x" * 256, "a\nb", "a\0", "\ud800"):
        assert label_fault(bad)


def test_tables_are_looked_at_and_other_files_are_not():
    assert may_be_manifest("a/Metadata.CSV") and may_be_manifest("x.jsonl")
    assert not may_be_manifest("a.csv.png") and not may_be_manifest("a.json")
