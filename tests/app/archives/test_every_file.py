"""Every file of an archive has exactly one outcome, and the answer's numbers add up to all."""

import io
import struct
import unicodedata

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.archives import uploads
from app.errors import Invalid, Problem
from tests.support.archives import KINDS, LIMITS, archive, noise, noise_at, tar_of, zip_of

PICTURES = [noise(seed) for seed in range(3)]  # few, so that copies are common
CONTENTS = [*PICTURES, noise(4)[:-30], b"", b"text", b"\0\5\x16\7resources", zip_of([("a", b"")])]
FOLDERS = ["cat", "dog", "cafe\u0301", "café", "می\u200cخواهم", "a\u202eb", ".net", "AC\\DC", "x "]
FOLDERS += ["train", "test", "images", "masks", "@eaDir", "__MACOSX", ".thumbnails", "pets"]
NAMES = ["1.png", "2.png", "3.jpg", "._1.png", ".4.png", ".DS_Store", "Thumbs.db", "notes.txt"]
NAMES += ["table.csv", "inner.zip", "e\u0301.png", "no ending"]
paths = st.builds(
    lambda folders, name: "/".join([*folders, name]),
    st.lists(st.sampled_from(FOLDERS), max_size=3),
    st.sampled_from(NAMES),
)
trees = st.dictionaries(paths, st.sampled_from(CONTENTS), min_size=1, max_size=14)
manifests = st.none() | st.lists(st.tuples(paths, st.sampled_from(["cat", "dog", "", "a\0b"])))


def packed(files: dict[str, bytes], kind: str) -> bytes:
    """The files in an archive of the kind, which may also be two tars, or a zip behind a script."""
    if kind == "joined tars":
        half = len(files) // 2
        return tar_of(dict(list(files.items())[:half])) + tar_of(dict(list(files.items())[half:]))
    if kind == "zip behind a script":
        return b"#!/bin/sh\n" * 50 + archive(files)
    if kind == "zip of Windows":
        return of_windows(archive(files))
    return archive(files, kind)


def of_windows(data: bytes) -> bytes:
    """The zip as if made on a FAT file system, without the flag for UTF-8."""
    changed = bytearray(data)
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        changed[at + 5] = 0
        (flags,) = struct.unpack_from("<H", changed, at + 8)
        struct.pack_into("<H", changed, at + 8, flags & ~0x800)
        at = data.find(b"PK\x01\x02", at + 4)
    return bytes(changed)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    trees,
    manifests,
    st.sampled_from([*KINDS, "joined tars", "zip behind a script", "zip of Windows"]),
)
def test_every_file_has_exactly_one_outcome(tmp_path, files, rows, kind):
    if rows is not None:
        lines = [f'"{path}","{label}"' for path, label in rows]
        files["metadata.csv"] = "\n".join(["file_name,label", *lines]).encode()
    spellings = {unicodedata.normalize("NFC", path).replace("\\", "/") for path in files}
    assume(len(spellings) == len(files))
    try:
        with uploads.receive(io.BytesIO(packed(files, kind)), tmp_path / "pack", LIMITS) as upload:
            counts = upload.files
    except Problem as problem:
        assert 400 <= problem.status < 500
        return
    assert counts.total == len(files)
    assert counts.labelled + counts.rejected + counts.passed_over + counts.manifests == len(files)
    assert sum(image.copies for image in upload.images) == counts.labelled
    assert sum(upload.labels.values()) == len(upload.images)
    listed = [item["path"] for item in upload.rejected.listed]
    kept = [image.image.path for image in upload.images]
    assert len(set(listed)) == len(listed) >= counts.rejected
    assert not set(listed) & set(kept)


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_of_an_answer_tell_each_outcome(tmp_path, kind):
    files = {"cat/1.png": PICTURES[0], "cat/2.png": PICTURES[0], "dog/3.png": PICTURES[1]}
    files |= {".DS_Store": b"x", "cat/notes.txt": b"x", ".net/4.png": PICTURES[2]}
    with uploads.receive(io.BytesIO(archive(files, kind)), tmp_path / "pack", LIMITS) as upload:
        assert upload.files._asdict() == {
            "total": 6,
            "labelled": 3,
            "rejected": 2,
            "passed_over": 1,
            "manifests": 0,
            "splits": {},
        }


def test_merged_splits_are_told(tmp_path):
    data = archive(noise_at("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "test/4.png"))
    with uploads.receive(io.BytesIO(data), tmp_path / "pack", LIMITS) as upload:
        assert upload.files.splits == {"train": 2, "val": 1}
        assert (upload.files.labelled, upload.files.rejected) == (3, 1)


@pytest.fixture
def told(tmp_path):
    """Upload the files; return the labels and the reason of each rejected path."""

    def upload(files: dict[str, bytes]) -> tuple[dict[str, int], dict[str, str]]:
        with uploads.receive(io.BytesIO(archive(files)), tmp_path / "pack", LIMITS) as found:
            return found.labels, {each["path"]: each["reason"] for each in found.rejected.listed}

    return upload


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["train/1.png", "test/2.png"], "no folder around the image is named for a label"),
        ([".net/1.png"], "it is hidden, as a part of its path begins with a dot"),
    ],
)
def test_folders_that_do_not_tell_labels_are_refused_with_the_reason(told, paths, reason):
    with pytest.raises(Invalid, match=reason) as caught:
        told(noise_at(*paths))
    assert caught.value.code == "no_labels"
    assert f"{paths[0]}: " in caught.value.detail


def test_hidden_files_are_told_and_a_manifest_may_list_them(told):
    files = noise_at(".22 calibre/1.png", "9 mm/2.png", "9 mm/.3.png")
    labels, rejected = told(files)
    assert labels == {"9 mm": 1}
    assert set(rejected) == {".22 calibre/1.png", "9 mm/.3.png"}
    assert all("begins with a dot" in reason for reason in rejected.values())
    rows = "".join(f"{path},{path.split('/')[0]}\n" for path in files)
    table = {"metadata.csv": f"file_name,label\n{rows}".encode()}
    assert told(files | table)[0] == {".22 calibre": 1, "9 mm": 2}


def test_a_file_that_a_manifest_lists_has_its_own_reason(told):
    rows = "cat/1.png,cat\ncut.png,cat\n@eaDir/2.png,cat\nnone.png,dog\n"
    files = noise_at("cat/1.png", "@eaDir/2.png") | {"cut.png": noise(3)[:-30]}
    labels, rejected = told(files | {"metadata.csv": f"file_name,label\n{rows}".encode()})
    assert labels == {"cat": 1} and len(rejected) == 3
    assert "damaged or cut off" in rejected["cut.png"]
    assert "systems add files of this name" in rejected["@eaDir/2.png"]
    assert "the archive lacks it" in rejected["none.png"]


def test_an_archive_whose_names_cannot_be_read_is_refused_with_the_way_out(tmp_path):
    data = zip_of([("Kafer/1.png", PICTURES[0])]).replace(b"Kafer", b"K\x84fer")
    with (
        pytest.raises(Invalid, match=r"names of 1 files .* in the field code_page") as caught,
        uploads.receive(io.BytesIO(data), tmp_path / "pack", LIMITS),
    ):
        pytest.fail("the upload was accepted")
    assert caught.value.code == "unreadable_names"
    with uploads.receive(io.BytesIO(data), tmp_path / "pack", LIMITS, "cp437") as upload:
        assert upload.labels == {"Käfer": 1}


def test_masks_beside_images_are_told_and_not_learned_from(told):
    labels, rejected = told(noise_at("ill/images/1.png", "ill/masks/1.png", "well/images/2.png"))
    assert labels == {"ill": 1, "well": 1}
    assert "beside a folder of images" in rejected["ill/masks/1.png"]


def test_the_table_that_is_no_manifest_is_told_where_labels_are_missing(told):
    table = {"train.csv": b"image,label\n1.png,cat\n"}
    for image in ("images/1.png", "1.png"):
        with pytest.raises(
            Invalid, match=r"train\.csv: the table is not a manifest: .* image, la"
        ) as caught:
            told(noise_at(image) | table)
        assert caught.value.code == "no_labels"


def test_a_manifest_whose_labels_are_none_is_told_so(told):
    rows = b'{"file_name": "1.png", "label": true}\n'
    with pytest.raises(Invalid, match=r"no label that can be one \(1\.png: .* is true or"):
        told(noise_at("1.png") | {"metadata.jsonl": rows})


def test_a_manifest_of_another_format_is_told(told):
    with pytest.raises(Invalid, match=r"not in folders \(labels\.json: this is JSON"):
        told(noise_at("1.png") | {"labels.json": b'{"1.png": "cat"}'})


@pytest.mark.parametrize("listed", ["d/a/b.png", "d/a\\b.png"])
@pytest.mark.parametrize("damaged", [None, "d/a\\b.png", "d/a/b.png"])
def test_a_row_that_may_mean_either_of_two_files_is_refused(told, listed, damaged):
    """A manifest of Windows writes a backslash for a slash, and on Unix it is part of a name."""
    files = noise_at("d/a\\b.png", "d/a/b.png", "c.png")
    files |= {damaged: noise(9)[:-30]} if damaged else {}
    rows = b"file_name,label\nc.png,cat\n"
    assert told(files | {"metadata.csv": rows})[0] == {"cat": 1}
    with pytest.raises(Invalid, match=r"lists 'd/a/b\.png', .* either of two files") as caught:
        told(files | {"metadata.csv": rows + f"{listed},dog\n".encode()})
    assert caught.value.code == "duplicate_path"
