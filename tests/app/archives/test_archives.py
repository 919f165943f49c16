"""Archives are read file by file; what tries something is refused with a code and its place."""

import io
import tarfile
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.archives.members import members, safe_path
from app.errors import Problem
from tests.support.archives import (
    KINDS,
    LIMITS,
    Limits,
    archive,
    contents,
    drain,
    noise,
    noise_at,
    refused,
    tar_header,
    tar_member,
    tar_of,
    zip_of,
)

FILES = noise_at("cat/1.png", "cat/2.png", "dog/1.png") | {
    "empty.txt": b"",
    "a/b/c/d.bin": b"x" * 3000,
}
WHOLE = [archive(FILES, kind) for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_archive_gives_its_files_in_order(kind):
    assert list(contents(archive(FILES, kind)).items()) == list(FILES.items())


@pytest.mark.parametrize("kind", KINDS)
def test_files_may_be_left_unread(kind):
    found = [member.path for member in members(io.BytesIO(archive(FILES, kind)), LIMITS)]
    assert found == list(FILES)


def test_names_are_composed_unicode_however_a_mac_writes_them():
    assert list(contents(zip_of([("cafe\u0301/1.png", b"1")]))) == ["caf\u00e9/1.png"]


def test_what_systems_leave_behind_is_passed_over():
    junk = ["__MACOSX/cat/._1.png", ".DS_Store", "cat/Thumbs.db", "cat/@eaDir/1.png/THUMB_L.jpg"]
    junk += ["cat/.thumbnails/1.png", "#recycle/cat/1.png", "cat/Desktop.ini", ".git/HEAD"]
    files = dict.fromkeys([*junk, "cat/1.png"], b"x") | {"cat/._1.png": b"\0\5\x16\7\0\2\0\0"}
    found = list(members(io.BytesIO(archive(files)), LIMITS))
    assert {member.path for member in found} == set(files)
    assert [member.path for member in found if not member.is_system_file] == ["cat/1.png"]


def test_what_a_person_may_have_hidden_is_not_taken_for_a_system_s():
    files = dict.fromkeys([".22 calibre/1.png", "cat/.hidden/2.png", "cat/._3.png"], b"\x89PNG")
    assert list(contents(archive(files))) == list(files)


def test_folders_and_dots_are_no_files():
    assert list(contents(zip_of([("cat/", b""), ("./cat/1.png", b"x")]))) == ["cat/1.png"]
    assert list(contents(tar_of({"./cat/1.png": b"x"}))) == ["cat/1.png"]
    assert list(contents(tar_member("cat", tarfile.DIRTYPE))) == []


@pytest.mark.parametrize(
    "name",
    ["../a.png", "cat/../../a.png", "/etc/a.png", "..\\a.png", "C:\\a.png", "c:a.png", "\\\\h\\a"],
)
def test_a_path_that_leaves_its_folder_is_refused_by_name(name):
    with pytest.raises(Problem, match="may leave the archive's own folder") as caught:
        safe_path(name)
    assert caught.value.code == "unsafe_path"
    for data in (zip_of([(name, b"x")]), tar_of({"ok.png": b"x", name: b"x"})):
        problem = refused(data)
        assert (problem.status, problem.code) == (422, "unsafe_path")
        assert "a" in problem.detail


def test_a_path_of_endless_length_is_refused():
    assert refused(tar_of({"a/" * 600: b"x"})).code == "path_too_long"


@pytest.mark.parametrize("second", ["cat/1.png", "./cat/1.png", "cat//1.png"])
def test_the_same_path_twice_is_refused(second):
    parts = [tar_of({name: b"x"})[:1024] for name in ("cat/1.png", second)]
    renamed = zip_of([("cat/1.png", b"1"), ("s" * len(second), b"2")])
    for data in (
        b"".join(parts) + bytes(1024),
        renamed.replace(b"s" * len(second), second.encode()),
    ):
        problem = refused(data)
        assert problem.code == "duplicate_path" and "cat/1.png" in problem.detail
        assert "spelling" not in problem.detail


def test_a_path_in_two_spellings_is_told_as_such():
    spellings = [f"{unicodedata.normalize(form, 'café')}/1.png" for form in ("NFC", "NFD")]
    detail = refused(zip_of((each, b"x") for each in spellings)).detail
    assert "'café/1.png' in two spellings that look the same (Unicode NFC and NFD)" in detail


@pytest.mark.parametrize(
    "data",
    [b"", b"hello world", bytes(2000), b"\x89PNG\r\n\x1a\n" + bytes(600), b"%PDF-1.4" * 200],
)
def test_what_is_no_archive_is_unsupported(data):
    problem = refused(data)
    assert (problem.status, problem.code) == (415, "not_an_archive")
    assert "zip, tar, tar.gz or tar.zst" in problem.detail


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "is a web page"),
        (noise(kind="PNG"), "is a single image (PNG)"),
        (noise(kind="WEBP"), "is a single image (WEBP)"),
        (noise(kind="TIFF"), "is a single image (TIFF)"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "is a single image (HEIC)"),
        (b"\xef\xbb\xbf<!DOCTYPE html><title>Sign in</title>", "is a web page"),
        (b"<!-- log in --><html>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "is an XML document"),
        (b'{"message": "Not Found"}', "is JSON"),
        (b"file_name,label\n1.png,cat\n", "is a text"),
        (b"PAR1" + bytes(range(128, 250)), "is a Parquet file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
        (bytes(2000), "is a run of zero bytes"),
    ],
)
def test_what_is_uploaded_in_place_of_an_archive_is_named(data, told):
    assert f"the file {told}" in refused(data).detail


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"Rar!\x1a\x07", "rar"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"\x1f\x9d", "compress (.Z)"),
        (b"070701", "cpio"),
        (b"MSCF", "cabinet"),
    ],
)
def test_other_archives_are_named(head, name):
    assert f"looks like {name}" in refused(head + bytes(600)).detail


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_archive_is_refused(kind, part):
    data = archive(FILES, kind)
    if kind.endswith("tar"):
        data = data.rstrip(b"\0")  # what is cut off its padding is not missed
    problem = refused(data[: int(part * len(data))])
    assert (problem.status, problem.code) == (400, "archive_truncated")


@pytest.mark.parametrize("kind", ["zip", "stored.zip", "tar.gz"])
def test_a_changed_byte_in_the_data_is_noticed(kind):
    data = bytearray(archive({"a.bin": bytes(range(256)) * 16}, kind))
    data[len(data) // 2 if kind != "zip" else 60] ^= 0x55
    assert refused(bytes(data)).code in ("archive_damaged", "archive_truncated")


def test_the_ratio_of_packed_to_unpacked_is_bounded():
    zeros = {f"{i}.bin": bytes(2**23) for i in range(10)}
    for kind in ("zip", "tar.gz", "tar.zst"):
        problem = refused(archive(zeros, kind))
        assert (problem.status, problem.code) == (413, "archive_bomb")


def test_the_unpacked_bytes_are_bounded():
    limits = Limits(max_dataset_bytes=10_000)
    files = {f"{i}.bin": bytes(3000) for i in range(4)}
    for kind in KINDS:
        assert refused(archive(files, kind), limits).code == "archive_too_large"


def test_entries_are_bounded_even_if_they_are_no_files():
    many = [(f"folder{i}/", b"") for i in range(1300)]
    problem = refused(zip_of(many))
    assert (problem.status, problem.code) == (413, "too_many_entries")
    assert "more than 1200 entries" in problem.detail


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([b"", *(data[:30] for data in WHOLE), tar_header(b"a", 9)]),
    st.binary(max_size=2000),
)
def test_random_bytes_are_files_or_a_problem(head, tail):
    drain(head + tail)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 10**6) | st.none(),
)
def test_flipped_bytes_and_cuts_are_files_or_a_problem(data, flips, cut):
    changed = bytearray(data)
    for place, value in flips:
        changed[place % len(data)] = value
    drain(bytes(changed[: cut % len(data)] if cut else changed))
