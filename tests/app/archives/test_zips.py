"""What a zip says of itself is believed only as far as it is checked."""

import io
import struct
import time
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.archives import zips
from app.archives.members import Member, members
from tests.support.archives import (
    LIMITS,
    Limits,
    archive,
    contents,
    drain,
    noise_at,
    refused,
    zip_of,
    zip_with,
)

FILES = noise_at("cat/1.png", "cat/2.png", "dog/1.png") | {
    "empty.txt": b"",
    "a/b/c/d.bin": b"x" * 3000,
}


def field(kind: int, data: bytes) -> bytes:
    return struct.pack("<2H", kind, len(data)) + data


def unicode_path(raw: bytes, text: str) -> bytes:
    """Info-ZIP's Unicode Path field for a name, as 7-Zip and WinRAR write it."""
    return field(0x7075, b"\1" + struct.pack("<L", zlib.crc32(raw)) + text.encode())


def raw_zip(name: bytes, data: bytes = b"x", *, flags=0, host=0, extra=b"") -> bytes:
    """A zip with one stored file, whose name's bytes and host are as given."""
    about = struct.pack("<4H3L", flags, 0, 0, 0x5821, zlib.crc32(data), len(data), len(data))
    local = struct.pack("<4sH", b"PK\3\4", 20) + about + struct.pack("<2H", len(name), 0)
    record = struct.pack("<4s2H", b"PK\1\2", 20 | host << 8, 20) + about
    record += struct.pack("<5H2L", len(name), len(extra), 0, 0, 0, 0, 0) + name + extra
    start = len(local) + len(name) + len(data)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(record), start, 0)
    return local + name + data + record + end


def only(data: bytes, code_page: str | None = None) -> Member:
    (found,) = members(io.BytesIO(data), LIMITS, code_page)
    return found


def test_names_in_zip_are_read_in_utf8_with_the_flag_and_without():
    assert contents(zip_of([("猫/ü.png", b"1")])) == {"猫/ü.png": b"1"}
    assert contents(raw_zip("猫/ü.png".encode())) == {"猫/ü.png": b"x"}


@pytest.mark.parametrize(
    ("text", "code_page"),
    [
        ("cat/ソ.png", "cp932"),  # its second byte is a backslash
        ("表/3.png", "cp932"),
        ("七个房间/1.png", "gb18030"),
        ("кошка/1.png", "cp866"),
        ("Käfer/1.png", "cp437"),
    ],
)
def test_a_name_in_an_unknown_code_page_is_told_and_never_guessed(text, code_page):
    data = raw_zip(text.encode(code_page))
    unread = only(data)
    assert "not in UTF-8" in unread.fault and "code_page" in unread.fault
    assert unread.path.isascii()
    assert only(data, code_page).path == text
    assert only(data, code_page).fault is None


def test_a_name_that_cannot_be_read_is_shown_in_characters_that_can():
    assert only(raw_zip(b"a\0\xff.png")).path == "a\\x00\\xff.png"


def test_a_code_page_that_does_not_fit_is_told():
    assert "its name is not in gb18030" in only(raw_zip(b"cat/\xff.png"), "gb18030").fault


def test_a_unicode_path_counts_where_it_belongs_to_the_name():
    raw, text = "七/1.png".encode("gbk"), "七/1.png"
    other = field(0x5455, b"\1\0\0\0\0")
    assert only(raw_zip(raw, extra=other + unicode_path(raw, text))).path == text
    stale = unicode_path(b"the name before", "dog/1.png")
    assert only(raw_zip(b"cat/1.png", extra=stale)).path == "cat/1.png"
    assert only(raw_zip(raw, extra=unicode_path(raw, text)[:-1])).fault


@pytest.mark.parametrize(
    ("name", "host", "path"),
    [
        (b"cat\\1.png", 0, "cat/1.png"),  # as .NET wrote on Windows
        (b"pets/cat\\1.png", 10, "pets/cat/1.png"),
        (b"cat\\1.png", 3, "cat/1.png"),  # a Windows tool that calls itself Unix
        (b"AC\\DC/1.png", 3, "AC\\DC/1.png"),
    ],
)
def test_a_backslash_lies_between_folders_where_windows_wrote_it(name, host, path):
    assert only(raw_zip(name, host=host)).path == path


def test_a_folder_with_bytes_is_told_and_one_without_is_none():
    assert "holds 1 bytes" in only(raw_zip(b"cat/")).fault
    assert list(members(io.BytesIO(raw_zip(b"cat/", b"")), LIMITS)) == []
    assert list(members(io.BytesIO(raw_zip("表/".encode("cp932"), b"")), LIMITS)) == []


@pytest.mark.parametrize("front", [b"#!/bin/sh\nexit 0\n" * 20, b"MZ PK\5\6" + bytes(70_000)])
@pytest.mark.parametrize("behind", [b"", b"\n" * 100])
def test_a_zip_with_something_around_it_is_read(front, behind):
    assert contents(front + zip_of(FILES.items()) + behind) == FILES


@pytest.mark.parametrize("part", [0.1, 0.5, 0.8])
def test_a_zip_without_its_beginning_is_truncated(part):
    """The last part of several, or a download that was taken up at the wrong place."""
    data = archive(noise_at("cat/1.png", "cat/2.png", "dog/3.png"))
    problem = refused(data[int(part * len(data)) :])
    assert problem.code == "archive_truncated"
    assert f"lacks its first {int(part * len(data))} bytes" in problem.detail


@pytest.mark.parametrize("front", [b"", b"MZ" + bytes(2**20)])
def test_two_joined_zips_are_refused(front):
    first, second = (zip_of([(f"{name}/1.png", b"x")]) for name in ("cat", "dog"))
    problem = refused(front + first + second)
    assert (problem.status, problem.code) == (400, "archive_joined")
    assert refused(first[:60] + second).code == "archive_joined"


def test_a_directory_with_more_entries_than_its_end_says_is_refused():
    data = bytearray(zip_of([("cat/1.png", b"x"), ("cat/2.png", b"y")]))
    end = data.index(b"PK\5\6")
    struct.pack_into("<2H", data, end + 8, 1, 1)
    assert "its list has 2 entries, its end record says 1" in refused(bytes(data)).detail
    first = data.index(b"PK\1\2")
    struct.pack_into("<L", data, end + 12, data.index(b"PK\1\2", first + 1) - first)
    assert refused(bytes(data)).status == 400


def test_a_zip_made_for_streaming_is_read():
    """Written to a pipe, a zip has its sizes behind the data, and in the central directory."""

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise OSError("a pipe")

        def tell(self):
            raise OSError("a pipe")

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in FILES.items():
            target.writestr(name, data)
    assert contents(pipe.getvalue()) == FILES


def test_a_zip64_is_read():
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target,
        target.open(zipfile.ZipInfo("a.bin"), "w", force_zip64=True) as entry,
    ):
        entry.write(b"abc" * 100)
    data = file.getvalue()
    central, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    record = bytearray(data[central:end])
    sizes = struct.unpack_from("<2L", record, 20)
    struct.pack_into("<2L", record, 20, 2**32 - 1, 2**32 - 1)
    struct.pack_into("<L", record, 42, 2**32 - 1)
    struct.pack_into("<H", record, 30, 28)
    record += struct.pack("<2H3Q", 1, 24, sizes[1], sizes[0], 0)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(record), central)
    place = struct.pack("<4sLQL", b"PK\6\7", 0, central + len(record), 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    assert contents(data[:central] + bytes(record) + end64 + place + last) == {
        "a.bin": b"abc" * 100
    }


@pytest.mark.parametrize(
    ("mode", "code"), [(0o120777, "archive_link"), (0o020666, "archive_device")]
)
def test_links_and_devices_in_a_zip_are_refused(mode, code):
    problem = refused(zip_with("evil.png", mode=mode))
    assert (problem.status, problem.code) == (422, code)
    assert "evil.png" in problem.detail


@pytest.mark.parametrize("flags", [0x1, 0x41, 0x2000])
def test_an_encrypted_zip_is_refused(flags):
    problem = refused(zip_with(flags=flags))
    assert (problem.status, problem.code) == (422, "archive_encrypted")


@pytest.mark.parametrize(
    ("method", "name"), [(12, "bzip2"), (14, "lzma"), (99, "encrypted"), (77, "77")]
)
def test_an_unusual_method_of_zip_is_refused_by_its_name(method, name):
    assert name in refused(zip_with(method=method)).detail


def test_a_zip_entry_that_unpacks_to_more_than_it_says_is_refused():
    data = bytearray(zip_of([("a.bin", bytes(100_000))]))
    for start in (22, data.index(b"PK\x01\x02") + 24):
        struct.pack_into("<L", data, start, 10)
    tracemalloc.start()
    problem = refused(bytes(data))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert problem.code == "archive_damaged"


def test_a_large_zip_directory_is_read_a_piece_at_a_time():
    limits = Limits(max_dataset_images=20_000)
    data = zip_of((f"{i % 7}/picture_{i:06d}_{'x' * 100}.png", b"") for i in range(12_000))
    file = io.BytesIO(data)
    tracemalloc.start()
    count = sum(member.size == 0 for member in members(file, limits))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 12_000
    assert peak < 10 * 2**20  # the paths themselves, 160 bytes each, and one piece


def test_reading_a_zip_directory_takes_time_in_proportion_to_its_length(monkeypatch):
    """Copying the rest of the directory for every entry would move 100 GB here."""
    monkeypatch.setattr(zips, "PIECE", 2**30)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for number in range(5_000):
            entry = zipfile.ZipInfo(f"{number}.png")
            entry.comment = bytes(8_000)
            target.writestr(entry, b"")
    began = time.process_time()
    count = sum(1 for _ in members(file, Limits(max_dataset_images=5_000)))
    assert time.process_time() - began < 3
    assert count == 5_000


def test_entries_that_share_a_run_of_empty_blocks_are_refused_before_all_are_read():
    """Each would be unpacked anew, to nothing: hours for a file of some megabytes."""
    idle = b"\0\0\0\xff\xff" * 2**18 + b"\3\0"
    data = bytearray(zip_of([("1.png", b"")]))
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    struct.pack_into("<L", data, at + 20, len(idle))  # the packed size
    packed, record = data[:at] + idle, data[at:end]
    packed = packed.replace(b"\3\0" + idle, idle)  # in the place of the entry's own two bytes
    records = [record.replace(b"1.png", b"%d.png" % number) for number in range(9)]
    struct.pack_into("<2H2L", data, end + 8, 9, 9, 9 * len(record), len(packed))
    found = refused(bytes(packed + b"".join(records) + data[end:]))
    assert found.code == "archive_damaged" and "unpack to only 0" in found.detail


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_zip_whose_directory_is_scrambled_is_files_or_a_problem(flips):
    data = bytearray(zip_of([("a.bin", b"abc" * 50), ("b.bin", b"")]))
    start = data.index(b"PK\x01\x02")
    for place, value in flips:
        data[start + place % (len(data) - start)] = value
    drain(bytes(data))
