"""Archives for tests, made by the standard library, or by hand where it refuses to."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import zstandard
from PIL import Image

from app.archives.members import members
from app.errors import Problem

Files = Mapping[str, bytes]
KINDS = ("zip", "stored.zip", "tar", "pax.tar", "ustar.tar", "tar.gz", "tar.zst")


def noise(seed: int = 0, size: int = 8, kind: str = "PNG") -> bytes:
    """An image file of random pixels; the seed makes the content."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces this size, and has the data of a few pixels."""
    header = struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    body = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">L", len(header))
        + chunk
        + struct.pack(">L", zlib.crc32(chunk))
        + struct.pack(">L", len(body))
        + b"IDAT"
        + body
        + struct.pack(">L", zlib.crc32(b"IDAT" + body))
    )


def noise_at(*paths: str) -> dict[str, bytes]:
    """A different image at each path."""
    return {path: noise(seed) for seed, path in enumerate(paths)}


def archive(files: Files, kind: str = "zip") -> bytes:
    """The files in an archive of one of the KINDS."""
    if kind.endswith("zip"):
        method = zipfile.ZIP_STORED if kind.startswith("stored") else zipfile.ZIP_DEFLATED
        return zip_of(files.items(), method)
    plain = tar_of(
        files, {"pax.tar": tarfile.PAX_FORMAT, "ustar.tar": tarfile.USTAR_FORMAT}.get(kind)
    )
    if kind == "tar.gz":
        packer = zlib.compressobj(wbits=31)
        return packer.compress(plain) + packer.flush()
    return zstandard.ZstdCompressor().compress(plain) if kind == "tar.zst" else plain


def zip_of(files: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these files, in this order, even if a name comes twice."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as target:
        for name, data in files:
            target.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def tar_of(files: Files, form: int | None = None) -> bytes:
    """A tar of these files, in GNU's format by default."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form or tarfile.GNU_FORMAT) as target:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
    return file.getvalue()


def tar_member(name: str, kind: bytes, target: str = "") -> bytes:
    """A tar whose one entry is of a special kind, such as `tarfile.SYMTYPE`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        tar.addfile(member)
    return file.getvalue()


def tar_header(name: bytes, size: int, kind: bytes = b"0") -> bytes:
    """A lone tar header, which may claim any size."""
    number = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    block = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + number + b"0" * 11 + b"\0"
    block = block.ljust(148, b"\0") + b" " * 8 + kind
    block = (block.ljust(257, b"\0") + b"ustar\x0000").ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def with_checksums(data: bytes) -> bytes:
    """The tar with the checksum of every header made to fit."""
    mended = bytearray(data)
    for start in range(0, len(mended) - 511, 512):
        if mended[start + 257 : start + 262] == b"ustar":
            mended[start + 148 : start + 156] = b" " * 8
            mended[start + 148 : start + 156] = b"%06o\0 " % sum(mended[start : start + 512])
    return bytes(mended)


def zip_with(name: str = "a.png", *, flags: int = 0, method: int = 0, mode: int = 0) -> bytes:
    """A zip whose one stored entry says of itself what `zipfile` would not write."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        target.writestr(member, b"data")
    data = bytearray(file.getvalue())
    central = data.index(b"PK\x01\x02")
    for start in (6, central + 8):
        struct.pack_into("<2H", data, start, flags, method)
    return bytes(data)


@dataclass(frozen=True)
class Limits:
    """Smaller limits than the settings', so that tests reach them."""

    max_upload_bytes: int = 2**30
    max_dataset_images: int = 100
    max_dataset_bytes: int = 2**27
    max_labels: int = 100
    max_image_bytes: int = 2**20
    max_image_pixels: int = 10**6
    max_decode_seconds: float = 5.0

    @property
    def max_archive_entries(self) -> int:
        return 2 * self.max_dataset_images + 1000


LIMITS = Limits()


def contents(data: bytes, limits: Limits = LIMITS) -> dict[str, bytes]:
    """Return the files that `members` reads from the archive, without those that systems add."""
    return {
        member.path: member.read()
        for member in members(io.BytesIO(data), limits)
        if not (member.fault or member.is_system_file)
    }


def refused(data: bytes, limits: Limits = LIMITS) -> Problem:
    """Return the problem that ends the reading of the archive."""
    with pytest.raises(Problem) as caught:
        contents(data, limits)
    assert len(caught.value.detail) > 20
    return caught.value


def drain(data: bytes) -> None:
    """Read the archive; any exception but a client's problem comes through."""
    try:
        contents(data)
    except Problem as problem:
        assert 400 <= problem.status < 500
