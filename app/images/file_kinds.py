"""The kind of a file by its first bytes, for messages that name what came in place of another."""

import codecs

HEAD = 512  # bytes that tell a kind
Mark = tuple[int, bytes]  # a place and what is there
ARCHIVES: dict[str, tuple[Mark, ...]] = {
    "zip": ((0, b"PK\x03\x04"), (0, b"PK\x05\x06")),  # the second without entries
    "gzip": ((0, b"\x1f\x8b"),),
    "zstd": ((0, b"\x28\xb5\x2f\xfd"),),
    "bzip2": ((0, b"BZh"),),
    "xz": ((0, b"\xfd7zXZ\0"),),
    "7z": ((0, b"7z\xbc\xaf\x27\x1c"),),
    "rar": ((0, b"Rar!\x1a\x07"),),
    "lz4": ((0, b"\x04\x22\x4d\x18"),),
    "lzip": ((0, b"LZIP"),),
    "compress (.Z)": ((0, b"\x1f\x9d"),),
    "cpio": ((0, b"070701"), (0, b"070702"), (0, b"070707")),
    "cabinet": ((0, b"MSCF"),),
}
READ_IMAGES: dict[str, tuple[Mark, ...]] = {
    "JPEG": ((0, b"\xff\xd8\xff"),),
    "PNG": ((0, b"\x89PNG"),),
    "GIF": ((0, b"GIF8"),),
    "WEBP": ((8, b"WEBP"),),
    "TIFF": ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
}
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
RAW_BRANDS = (
    b"II*\0\x10\0\0\0CR",
    b"IIU\0",
    b"IIRO",
    b"IIRS",
    b"MMOR",
    b"FOVb",
    b"FUJIFILMCCD-RAW",
)
OTHER_IMAGES: dict[str, tuple[Mark, ...]] = {
    "AVIF": ((4, b"ftypavif"), (4, b"ftypavis")),
    "HEIC": tuple((4, b"ftyp" + brand) for brand in HEIF_BRANDS),
    "a camera's raw file": ((4, b"ftypcrx "), *((0, brand) for brand in RAW_BRANDS)),
    "JPEG 2000": ((0, b"\0\0\0\x0cjP  "), (0, b"\xffO\xffQ")),
    "JPEG XL": ((0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL ")),
    "JPEG XR": ((0, b"II\xbc\x01"),),
    "a Photoshop file": ((0, b"8BPS"),),
    "a GIMP file": ((0, b"gimp xcf"),),
    "an icon": ((0, b"\0\0\1\0"), (0, b"icns")),
    "a Netpbm image": tuple(
        (0, b"P%d%c" % (kind, end)) for kind in range(1, 7) for end in b"\n \r"
    ),
    "DDS": ((0, b"DDS "),),
    "OpenEXR": ((0, b"\x76\x2f\x31\x01"),),
    "Radiance HDR": ((0, b"#?RADIANCE"), (0, b"#?RGBE")),
    "FITS": ((0, b"SIMPLE  ="),),
    "DjVu": ((0, b"AT&TFORM"),),
    "PDF": ((0, b"%PDF"),),
    "PostScript": ((0, b"%!PS"),),
    "SVG": ((0, b"<svg"),),
    "DICOM": ((128, b"DICM"),),
    "NIfTI": ((344, b"n+1\0"), (344, b"ni1\0")),
}
OTHERS: dict[str, tuple[Mark, ...]] = {
    "a pointer of Git LFS and not the file itself (git lfs pull)": (
        (0, b"version https://git-lfs"),
    ),
    "a video": ((4, b"ftyp"), (0, b"\x1a\x45\xdf\xa3"), (8, b"AVI "), (0, b"\0\0\1\xba")),
    "a sound": ((8, b"WAVE"), (0, b"ID3"), (0, b"OggS"), (0, b"fLaC")),
    "a NumPy array": ((0, b"\x93NUMPY"),),
    "a pickle of Python": tuple((0, b"\x80%c" % version) for version in range(2, 6)),
    "an HDF5 file": ((0, b"\x89HDF"),),
    "a Parquet file": ((0, b"PAR1"),),
    "an Arrow file": ((0, b"ARROW1"),),
    "an SQLite database": ((0, b"SQLite format 3\0"),),
    "a GGUF model": ((0, b"GGUF"),),
    "a safetensors file": ((8, b'{"'),),
    "a Microsoft Office document": ((0, b"\xd0\xcf\x11\xe0"),),
    "a program": ((0, b"\x7fELF"), (0, b"MZ")),
}
TEXTS = {  # beginnings, in lower case, after white space
    "<!doctype html": "a web page, perhaps a log-in in place of the download",
    "<html": "a web page, perhaps a log-in in place of the download",
    "<?xml": "an XML document, perhaps an error message in place of the download",
    "{": "JSON",
    "[": "JSON",
}
WEB_PAGE = TEXTS["<html"]
ZEROS = "a run of zero bytes, as an empty tar is, and what a failed disk or download leaves"


def archive(head: bytes) -> str | None:
    """Return the format of archive or compression that begins so; tar has no first bytes."""
    return _marked(head, ARCHIVES)


def image(head: bytes) -> str | None:
    """Return the kind of image that begins so, if its format is one that is read."""
    return _marked(head, READ_IMAGES)


def other_image(head: bytes) -> str | None:
    """Return the kind of image that begins so, if its format is not read."""
    if (found := _marked(head, OTHER_IMAGES)) is not None:
        return found
    text = (_text(head) or "").lower()
    return "SVG" if "<svg" in text and "<html" not in text else None


def is_safetensors(head: bytes) -> bool:
    """Return whether a safetensors file may begin so."""
    return head.startswith(b"{", 8)


def kind_of(head: bytes) -> str | None:
    """Return what begins so, of whatever kind, for "the file is …"."""
    if found := archive(head):
        return f"an archive or a compressed file ({found})"
    if found := image(head) or other_image(head):
        return f"an image ({found})"
    return no_image(head)


def no_image(head: bytes) -> str | None:
    """Return what begins so and is neither image nor archive, for "this is …"."""
    found = _marked(head, OTHERS)
    if found is not None or not head:
        return found
    text = _text(head)
    if text is None:
        return None if any(head) else ZEROS
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith("<!--") and "<html" in start:
        return WEB_PAGE
    return next((name for mark, name in TEXTS.items() if start.startswith(mark)), "a text")


def _marked(head: bytes, kinds: dict[str, tuple[Mark, ...]]) -> str | None:
    for name, marks in kinds.items():
        if any(head.startswith(mark, place) for place, mark in marks):
            return name
    return None


def _text(head: bytes) -> str | None:
    """Return the beginning of a text in UTF-8; None if it is none."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head[:HEAD])
    except UnicodeDecodeError:
        return None
    return text if all(each.isprintable() or each in "\ufeff\t\r\n\f" for each in text) else None
