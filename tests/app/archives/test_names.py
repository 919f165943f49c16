"""Names in a code page: one rule for zips, tars and folders."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from app.archives import folders
from app.archives.members import members, members_of
from app.archives.names import Names
from app.errors import Invalid, Malformed
from tests.support.archives import LIMITS, tar_header, zip_of

CAT, DOG = "猫/1.png", "狗/1.png"  # in GBK, the first is è/1.png in UTF-8 too
IN_GBK = [name.encode("gbk") for name in (CAT, DOG)]
LONG = "y" * 120 + "/"
every_kind = pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "long names", "folder"])


def zipped(names: list[bytes]) -> bytes:
    """A zip with names as they are and without a mark."""
    stand_ins = [chr(65 + number) * len(name) for number, name in enumerate(names)]
    data = zip_of([(stand_in, b"x") for stand_in in stand_ins])
    for stand_in, name in zip(stand_ins, names, strict=True):
        data = data.replace(stand_in.encode(), name)
    return data


def tarred(names: list[bytes], form: int = tarfile.GNU_FORMAT, front: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(front + os.fsdecode(name)))
    return file.getvalue()


def written(names: list[bytes], folder: Path) -> Path:
    for name in names:
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return folder


def names_of(names, kind, folder: Path, code_page=None) -> list[tuple[str, str | None]]:
    """The names that are read of files with these, and why some cannot be."""
    if kind == "folder":
        entries = folders.entries(written(names, folder), 2**20, Names(code_page))
        return [(each.path, each.fault) for each in members_of(entries, LIMITS)]
    if kind == "zip":
        data = zipped(names)
    else:
        data = tarred(names, front=LONG if kind == "long names" else "")
    return in_archive(gzip.compress(data) if kind == "tar.gz" else data, code_page)


def in_archive(data: bytes, code_page=None) -> list[tuple[str, str | None]]:
    found = members(io.BytesIO(data), LIMITS, code_page)
    return [(each.path.removeprefix(LONG), each.fault) for each in found]


@every_kind
def test_a_code_page_counts_for_names_that_are_utf8_by_chance(kind, tmp_path):
    found = names_of(IN_GBK, kind, tmp_path, "gb18030")
    assert sorted(found) == sorted([(CAT, None), (DOG, None)])


@every_kind
@pytest.mark.parametrize("order", [1, -1])
def test_names_of_which_only_some_are_utf8_are_refused_with_the_way_out(kind, order, tmp_path):
    told = r"'.*\\xb9\\xb7.*' is not in UTF-8, so that '.*è.*by chance.*field code_page"
    with pytest.raises(Invalid, match=told) as caught:
        names_of(IN_GBK[::order], kind, tmp_path)
    assert caught.value.code == "unreadable_names"


@every_kind
def test_names_that_are_all_utf8_or_ascii_need_no_code_page(kind, tmp_path):
    names = ["cat/1.png", CAT, DOG]
    found = names_of([name.encode() for name in names], kind, tmp_path)
    assert sorted(found) == [(name, None) for name in sorted(names)]


@every_kind
def test_a_name_that_is_not_utf8_among_ascii_is_the_only_one_rejected(kind, tmp_path):
    found = dict(names_of([b"cat/1.png", IN_GBK[1]], kind, tmp_path))
    assert found.pop("cat/1.png") is None
    [fault] = found.values()
    assert "not in UTF-8" in fault and "code_page" in fault and "--code-page" in fault


def test_marked_names_are_utf8_whatever_code_page_is_named():
    flagged, by_pax = zip_of([(CAT, b"x")]), tarred([CAT.encode()], tarfile.PAX_FORMAT)
    for data in (flagged, by_pax):
        assert in_archive(data, "gb18030") == in_archive(data) == [(CAT, None)]


def test_a_pax_name_that_says_it_is_binary_is_in_the_code_page():
    name = (CAT + DOG).encode("gbk")
    data = tarred([name], tarfile.PAX_FORMAT)
    assert b"hdrcharset=BINARY" in data
    assert in_archive(data, "gb18030") == [(CAT + DOG, None)]
    assert "not in UTF-8" in str(in_archive(data)[0][1])


def test_a_mark_that_is_false_is_damage():
    record = b"18 path=" + IN_GBK[1] + b"\n"
    record = b"%d%b" % (len(record), record[2:])
    data = tar_header(b"pax", len(record), b"x") + record.ljust(512, b"\0")
    with pytest.raises(Malformed, match=r"the name .* is not in UTF-8; pack it again"):
        in_archive(data + tar_header(b"1.png", 0) + bytes(1024), "gb18030")


def test_links_in_a_code_page_name_their_targets_in_it():
    link = tarfile.TarInfo("link.png")
    link.type, link.linkname = tarfile.LNKTYPE, CAT
    header = link.tobuf(tarfile.GNU_FORMAT, "gbk", "strict")
    [found] = members(io.BytesIO(header + bytes(1024)), LIMITS, "gb18030")
    assert found.target == CAT
