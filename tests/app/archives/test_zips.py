"""What a zip says of itself is believed only as far as it is checked."""

import io
import struct
import time
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.archives import zips
from app.archives.members import members
from tests.support.archives import Limits, contents, drain, noise_at, refused, zip_of, zip_with

FILES = noise_at("cat/1.png", "cat/2.png", "dog/1.png") | {
    "empty.txt": b"",
    "a/b/c/d.bin": b"x" * 3000,
}


def test_names_in_zip_are_read_in_utf8_and_in_code_page_437():
    assert contents(zip_of([("猫/ü.png", b"1")])) == {"猫/ü.png": b"1"}
    data = zip_of([("katz/u.png", b"1")]).replace(b"katz/u", b"katz/\x81")
    assert contents(data) == {"katz/ü.png": b"1"}


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


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_zip_whose_directory_is_scrambled_is_files_or_a_problem(flips):
    data = bytearray(zip_of([("a.bin", b"abc" * 50), ("b.bin", b"")]))
    start = data.index(b"PK\x01\x02")
    for place, value in flips:
        data[start + place % (len(data) - start)] = value
    drain(bytes(data))
