"""The tar format (ustar, GNU, pax), read once from front to back with one header in memory.

Follows POSIX.1-2017 pax and the GNU tar manual, "Basic Tar Format". Unlike the standard library's
reader it reports a damaged header or a missing end mark, and does not take it for the end.
"""

from collections.abc import Iterator

from app.archives.entries import PIECE, Entry, Readable, damaged, truncated
from app.archives.names import Names
from app.errors import TooLarge, Unsupported
from app.images import file_kinds

BLOCK = 512
ZEROS = bytes(BLOCK)
MAX_HEADER = 2**16  # bytes of a long name or of a pax header
MAX_RECORDS = 200  # of pax headers before one entry
END_MARK = "its end mark"
FILE, HARD_LINK, FOLDER = b"0\x007", b"1", b"5"
FOLDER_OF_BACKUP = b"D"  # GNU tar's, with the names of its files as data
GNU = "GNU."  # before the key of a long name of GNU's, which has no mark of UTF-8, as pax's has
LONG_NAMES = {b"L": f"{GNU}path", b"K": f"{GNU}linkpath"}  # by the kind of header
READ_ARCHIVES = ("zip", "gzip", "zstd")
REFUSED = {
    b"2": "symbolic link",
    b"3": "character device",
    b"4": "block device",
    b"6": "named pipe",
}


def is_header(block: bytes) -> bool:
    """Return whether these 512 bytes are a tar header, by their checksum."""
    if len(block) < BLOCK or not any(block):
        return False
    try:
        claimed = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    rest = block[:148] + b" " * 8 + block[156:BLOCK]
    if claimed == sum(rest):
        return True
    return claimed == sum(rest) - 256 * sum(byte > 127 for byte in rest)  # by signed bytes


def entries(stream: Readable, names: Names, inside: str | None = None) -> Iterator[Entry]:
    """Yield every entry of the tar, and of tars that follow its end mark.

    `inside` names the compression around the tar, if any.

    Raises:
        Malformed: `archive_truncated`, `archive_damaged`.
        Unsupported: `not_an_archive`, `archive_method`.
        TooLarge: `header_too_large`.
        Invalid: `unreadable_names`.
    """
    header = stream.read(BLOCK)
    if any(header) and not is_header(header):
        raise _no_tar(header, inside or "file")
    if len(header) < BLOCK:
        raise truncated("before its first entry")
    records: dict[str, bytes] = {}
    last = "its beginning"
    while any(header):
        if not is_header(header):
            raise damaged(_no_header(last))
        kind, size = header[156:157], _number(header[124:136], "size", last)
        if kind in b"xgLKV":
            records |= _extension(stream, kind, size, last)
            if len(records) > MAX_RECORDS:
                raise damaged(f"the entry after {last} has more than {MAX_RECORDS} pax records")
        else:
            name, fault = _read(names, records, "path", _name(header))
            body = _Body(stream, _size(records, size, kind, name), name)
            yield _entry(header, name, fault, records, body, names)
            body.skip()
            records, last = {}, repr(name)
        header = _block(stream, f"after {last}, without tar's end mark")
        if not any(header):
            header, last = _after_zeros(stream), END_MARK


def _after_zeros(stream: Readable) -> bytes:
    """Return the next block that is not all zeros, or nothing, having read to the end.

    Less than a block is no entry: some tools pad the end. The checksum of a compressed tar comes
    after all.
    """
    while len(block := stream.read(BLOCK)) == BLOCK:
        if block != ZEROS:
            return block
    return b""


class _Body:
    """The unread bytes of one entry."""

    def __init__(self, stream: Readable, size: int, name: str) -> None:
        self.size, self._stream, self._name = size, stream, name
        self._left = size + -size % BLOCK  # to the next header

    def read(self) -> bytes:
        data = self._stream.read(self.size)
        if len(data) < self.size:
            raise truncated(f"within {self._name!r}")
        self._left -= self.size
        return data

    def skip(self) -> None:
        while self._left:
            data = self._stream.read(min(self._left, PIECE))
            if not data:
                raise truncated(f"within {self._name!r}")
            self._left -= len(data)


def _no_tar(header: bytes, where: str) -> Unsupported:
    """Return the problem of a file, or of what a compressed file holds, that is no tar."""
    what, advice = "no tar", "make a tar of the images"
    if kind := file_kinds.archive(header):
        what = f"a {kind} and no tar"
        if kind in READ_ARCHIVES:
            advice = f"unpack the {where}, and upload what is in it"
    elif image := file_kinds.image(header) or file_kinds.other_image(header):
        what = f"a single image ({image}) and no tar"
    return Unsupported("not_an_archive", f"the {where} holds {what}: {advice}")


def _entry(
    header: bytes,
    name: str,
    fault: str | None,
    records: dict[str, bytes],
    body: _Body,
    names: Names,
) -> Entry:
    flag = header[156:157]
    kind = _kind(flag, name, records)
    if flag == HARD_LINK:
        field = header[157:257].split(b"\0", 1)[0]
        target, unread = _read(names, records, "linkpath", field)
        return Entry(name, kind, 0, body.read, fault or unread, target)
    return Entry(name, kind, 0 if flag == FOLDER_OF_BACKUP else body.size, body.read, fault)


def _read(
    names: Names, records: dict[str, bytes], key: str, field: bytes
) -> tuple[str, str | None]:
    """Return the name that the records, or else the header's own field, have."""
    pax = records.get(key)
    if pax and records.get("hdrcharset") != b"BINARY":
        return names.marked(pax), None
    return names.unmarked(pax or records.get(GNU + key) or field)


def _no_header(last: str) -> str:
    if last == END_MARK:
        return "after tar's end mark it goes on with bytes that are no tar entry"
    return f"the tar header after {last} is missing or damaged"


def _block(stream: Readable, where: str) -> bytes:
    block = stream.read(BLOCK)
    if len(block) < BLOCK:
        raise truncated(where)
    return block


def _number(field: bytes, what: str, after: str) -> int:
    """Return a number written in octal digits, or in base 256, as GNU tar writes large ones."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8) if field[0] < 0x80 else int("negative")
    except ValueError:
        raise damaged(f"the {what} of the entry after {after} is not a number") from None


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and prefix:  # GNU tar stores times in the place of the prefix
        name = prefix + b"/" + name
    return name


def _kind(flag: bytes, name: str, records: dict[str, bytes]) -> str:
    if flag in REFUSED:
        return REFUSED[flag]
    if flag == HARD_LINK:
        return "hard link"
    if flag in (FOLDER, FOLDER_OF_BACKUP) or (
        flag in FILE and name.endswith("/")
    ):  # "/" before POSIX
        return "folder"
    sparse = flag == b"S" or any(key.startswith("GNU.sparse") for key in records)
    if flag in FILE and not sparse:
        return "file"
    what = f"is a tar entry of the unknown kind {flag.decode('latin-1')!r}"
    advice = "pack plain files and folders only"
    if sparse:
        name = records.get("GNU.sparse.name", b"").decode(errors="replace") or name
        what, advice = "is stored as a sparse file", "pack it again without tar's --sparse (-S)"
    elif flag == b"M":
        what = "goes on from another file, as the tar is one part of several"
        advice = "join the parts into one file"
    raise Unsupported("archive_method", f"{name!r} {what}: {advice}")


def _size(records: dict[str, bytes], size: int, flag: bytes, name: str) -> int:
    if flag not in FILE + FOLDER_OF_BACKUP:
        return 0  # links and folders have no data, whatever size they announce
    if "size" not in records:
        return size
    if not records["size"].isdigit() or len(records["size"]) > 20:
        raise damaged(f"the size of {name!r} is not a number")
    return int(records["size"])


def _extension(stream: Readable, flag: bytes, size: int, after: str) -> dict[str, bytes]:
    """Return the records of a header that precedes an entry's own: a long name, or pax records."""
    if size > MAX_HEADER:
        raise TooLarge(
            "header_too_large",
            f"the archive has a header of {size} bytes after {after}, more than the {MAX_HEADER} "
            "allowed: pack without extended attributes",
        )
    data = stream.read(size + -size % BLOCK)
    if len(data) < size:
        raise truncated(f"within a header after {after}")
    if flag in LONG_NAMES:
        return {LONG_NAMES[flag]: data[:size].split(b"\0", 1)[0]}
    return _pax(data[:size], after) if flag == b"x" else {}


def _pax(data: bytes, after: str) -> dict[str, bytes]:
    r"""Parse records such as "27 path=a/long/name.png\n"; the number is the record's length."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 10)
        digits = data[at:blank] if blank > at else b""
        end = at + int(digits) if digits.isdigit() else at
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        is_whole = at < blank < end <= len(data) and data[end - 1 : end] == b"\n"
        if not (is_whole and equals):
            raise damaged(f"a pax header after {after} is malformed")
        records[key.decode("latin-1")] = value
        at = end
    return records
