"""Tars of three dialects, plain and compressed, and what claims to be one."""

import gzip
import io
import random
import tarfile

import pytest
import zstandard

from app.archives import tars
from app.archives.entries import MAX_IDLE_BYTES
from app.archives.members import members
from app.errors import Malformed, TooLarge
from tests.support.archives import (
    LIMITS,
    archive,
    contents,
    noise,
    refused,
    tar_header,
    tar_member,
    tar_of,
    zip_of,
)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read(form):
    files = {"x/" * 120 + "ä ü 猫.png": b"1", "ascii.png": b"2", "y" * 99 + "/z.png": b"3"}
    assert contents(tar_of(files, form)) == files


@pytest.mark.parametrize(
    ("kind", "code", "word"),
    [
        (tarfile.SYMTYPE, "archive_link", "symbolic link"),
        (tarfile.CHRTYPE, "archive_device", "character device"),
        (tarfile.BLKTYPE, "archive_device", "block device"),
        (tarfile.FIFOTYPE, "archive_device", "named pipe"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(kind, code, word):
    problem = refused(tar_member("cat/evil.png", kind, "/etc/passwd"))
    assert problem.code == code
    assert word in problem.detail and "cat/evil.png" in problem.detail


def test_a_compressed_file_that_is_no_tar_is_unsupported():
    assert refused(gzip.compress(b"hello" * 1000)).code == "not_an_archive"
    assert refused(gzip.compress(b"hello")).code in ("not_an_archive", "archive_truncated")
    assert refused(zstandard.compress(b"hello" * 1000)).code == "not_an_archive"


def test_a_tar_that_ends_between_two_files_is_truncated():
    data = tar_of({"a.png": b"x" * 512, "b.png": b"y" * 512})
    problem = refused(data[:1024])
    assert problem.code == "archive_truncated" and "after 'a.png'" in problem.detail


@pytest.mark.parametrize("kind", [b"L", b"x", b"g", b"K"])
@pytest.mark.parametrize("size", [2**17, 2**33, 2**60])
def test_a_header_of_any_claimed_size_costs_no_memory(kind, size):
    with pytest.raises(TooLarge, match=f"a header of {size} bytes") as caught:
        contents(tar_header(b"long", size, kind) + bytes(10_000))
    assert caught.value.code == "header_too_large"


@pytest.mark.parametrize("size", [2**20, 2**40, 2**70])
def test_a_file_of_any_claimed_size_is_truncated(size):
    data = tar_header(b"huge.png", size) + bytes(2000)
    with pytest.raises(Malformed, match=r"ends within 'huge\.png'"):
        for _ in members(io.BytesIO(data), LIMITS):
            pass


def test_a_zstd_window_is_bounded():
    """A frame header that claims a window of 2 GB, as `zstd --ultra --long=31` writes it."""
    window = 31 - 10 << 3
    data = b"\x28\xb5\x2f\xfd" + bytes([0b0000_0000, window]) + b"\x01\x00\x00" + bytes(600)
    problem = refused(data)
    assert (problem.status, problem.code) == (413, "zstd_window_too_large")


def test_malformed_pax_records_are_refused():
    for record in (
        b"9999 path=a\n",
        b"0 a=b\n",
        b"x path=a\n",
        b"5 ab\n",
        b"-9 a=b\n",
        b"nonsense",
    ):
        block = record.ljust(512, b"\0")
        data = tar_header(b"pax", len(record), b"x") + block + tar_header(b"a.png", 0) + bytes(1024)
        assert refused(data).code == "archive_damaged"


def test_a_tar_header_is_told_by_its_checksum():
    block = tar_header(b"a.png", 5)
    assert tars.is_header(block)
    assert not tars.is_header(block[:10] + b"x" + block[11:])
    assert not tars.is_header(bytes(512))


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end():
    data = bytearray(tar_of({"a.png": b"x" * 512, "b.png": b"y" * 512}))
    data[1024 + 5] ^= 0xFF
    problem = refused(bytes(data))
    assert problem.code == "archive_damaged" and "after 'a.png'" in problem.detail


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_joined_tars_are_read_one_after_the_other(pack):
    parts = [tar_of({f"{label}/1.png": label.encode()}) for label in ("cat", "horse", "owl")]
    expected = {"cat/1.png": b"cat", "horse/1.png": b"horse", "owl/1.png": b"owl"}
    assert contents(pack(b"".join(parts))) == expected
    assert contents(b"".join(map(pack, parts))) == expected
    assert contents(pack((parts[0] + bytes(3 * 2**20 + 512)) + parts[1] + parts[2])) == expected


def test_a_second_tar_that_is_cut_off_is_refused():
    first, second = (tar_of({f"{label}/1.png": b"x" * 600}) for label in ("cat", "horse"))
    problem = refused(first + second[:1024])
    assert problem.code == "archive_truncated" and "horse/1.png" in problem.detail


def test_bytes_after_the_end_mark_are_refused_unless_they_are_too_few_for_a_file():
    whole = tar_of({"cat/1.png": b"x"})
    assert contents(whole + b"\n" * 511) == {"cat/1.png": b"x"}
    problem = refused(whole + b"\n" * 512)
    assert problem.code == "archive_damaged"
    assert "after tar's end mark it goes on with bytes that are no tar entry" in problem.detail


def test_a_name_that_is_not_in_utf8_is_told_unless_its_code_page_is_named():
    raw = tar_of({"Xpfel/1.png": b"x", "cat/2.png": b"y"}).replace(b"Xpfel", b"\xc4pfel")
    header = bytearray(raw[:512])
    header[148:156] = b" " * 8
    data = raw[:148] + b"%06o\0 " % sum(header) + raw[156:]
    unread, cat = members(io.BytesIO(data), LIMITS)
    assert unread.path == "\\xc4pfel/1.png" and "not in UTF-8" in unread.fault
    assert cat.path == "cat/2.png" and cat.fault is None
    named = [each.path for each in members(io.BytesIO(data), LIMITS, "cp1252")]
    assert named == ["Äpfel/1.png", "cat/2.png"]


def test_a_backslash_is_a_character_in_a_tar():
    assert contents(tar_of({"AC\\DC/1.png": b"x"})) == {"AC\\DC/1.png": b"x"}


def test_the_advice_on_links_names_each_tool_s_own_flag():
    told = refused(tar_member("dog/1.png", tarfile.SYMTYPE, "cat/1.png")).detail
    assert "GNU tar's --dereference" in told and "tar -L on a Mac" in told
    assert "zip without -y" in told


def test_the_advice_on_devices_speaks_of_no_links():
    told = refused(tar_member("cat/pipe", tarfile.FIFOTYPE)).detail
    assert told == "'cat/pipe' is a named pipe: leave it out, and pack plain files and folders only"


def test_a_folder_of_an_incremental_backup_is_a_folder():
    """GNU tar -g writes a folder with the list of its files as the data."""
    names = b"Y1.png\0\0"
    folder = tar_header(b"cat/", len(names), b"D") + names.ljust(512, b"\0")
    assert contents(folder + tar_of({"cat/1.png": b"x"})) == {"cat/1.png": b"x"}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (b"S", "is stored as a sparse file: pack it again without tar's --sparse (-S)"),
        (b"M", "goes on from another file, as the tar is one part of several: join"),
        (b"~", "is a tar entry of the unknown kind '~': pack plain files and folders only"),
    ],
)
def test_a_kind_of_entry_that_is_not_read_is_named(kind, told):
    problem = refused(tar_header(b"cat/1.png", 0, kind) + bytes(1024))
    assert problem.code == "archive_method" and f"'cat/1.png' {told}" in problem.detail


def test_a_sparse_file_is_told_by_its_own_name():
    records = [b"GNU.sparse.major=1", b"GNU.sparse.name=cat/1.png"]
    lines = b"".join(b"%d %s\n" % (len(each) + 4, each) for each in records)
    data = tar_header(b"pax", len(lines), b"x") + lines.ljust(512, b"\0")
    problem = refused(data + tar_header(b"cat/GNUSparseFile.7/1.png", 0) + bytes(1024))
    assert "'cat/1.png' is stored as a sparse file" in problem.detail


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        (
            zip_of([("1.png", b"x")]),
            "the gzip holds a zip and no tar: unpack the gzip, and upload what is in it",
        ),
        (noise(), "the gzip holds a single image (PNG) and no tar: make a tar of the images"),
        (
            gzip.compress(b"x" * 9),
            "the gzip holds a gzip and no tar: unpack the gzip, and upload what is in it",
        ),
        (b"\1\2\3" * 300, "the gzip holds no tar: make a tar of the images"),
    ],
    ids=["a zip", "an image", "a gzip", "anything"],
)
def test_what_a_compressed_file_holds_in_place_of_a_tar_is_named(inside, told):
    assert told in refused(gzip.compress(inside.ljust(600, b"\0"))).detail


def test_bytes_behind_a_gzip_are_told():
    problem = refused(gzip.compress(tar_of({"cat/1.png": b"x"})) + b"garbage" * 20)
    assert problem.code == "archive_damaged"
    assert "bytes that are no gzip follow its compressed data" in problem.detail


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("begins", [b"", tar_of({"cat/1.png": b"x"})], ids=["empty", "a tar"])
def test_members_that_unpack_to_nothing_are_refused_before_all_are_read(pack, begins):
    empty = pack(b"")
    file = io.BytesIO(pack(begins) + empty * (2 * MAX_IDLE_BYTES // len(empty)))
    with pytest.raises(Malformed, match="unpack to only"):
        list(members(file, LIMITS))
    assert file.tell() < 1.5 * MAX_IDLE_BYTES


@pytest.mark.parametrize("kind", ["tar.gz", "tar.zst"])
def test_an_image_that_does_not_compress_is_read_from_a_compressed_tar_whatever_its_size(kind):
    files = {"cat/1.png": random.Random(1).randbytes(3 * MAX_IDLE_BYTES), "cat/2.png": b"x"}
    assert contents(archive(files, kind)) == files


def test_the_records_of_many_pax_headers_before_one_entry_are_refused():
    """They stay in memory until the entry comes."""
    records = (b"13 key%04d=x\n" % number for number in range(300))
    headers = (tar_header(b"pax", 13, b"x") + each.ljust(512, b"\0") for each in records)
    with pytest.raises(Malformed, match="more than 200 pax records"):
        contents(b"".join(headers) + tar_of({"cat/1.png": b"x"}))
