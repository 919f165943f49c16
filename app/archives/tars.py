"""The tar format (ustar, GNU, pax), read once from front to back with one header in memory.

Follows POSIX.1-2017 pax and the GNU tar manual, "Basic Tar Format". Unlike the standard library's
reader it reports a damaged header or a missing end mark, and does not take it for the end.
"""

from collections.abc import Iterator

from app.archives.entries import Entry, Readable, damaged, truncated
from app.errors import TooLarge, Unsupported

BLOCK = 512
MAX_HEADER = 2**16  # bytes of a long name or of a pax header
MAX_RECORDS = 200  # of one pax header
PIECE = 2**20
FILE, FOLDER = b"0\x007", b"5"
REFUSED = {
    b"1": "hard link",
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


def entries(stream: Readable, inside: str | None = None) -> Iterator[Entry]:
    """Yield every entry of the tar; `inside` names the compression around it, if any.

    Raises:
        Malformed: `archive_truncated`, `archive_damaged`.
        Unsupported: `not_an_archive`, `archive_method`.
        TooLarge: `header_too_large`.
    """
    header = _block(stream, "before its first entry")
    if any(header) and not is_header(header):
        raise Unsupported(
            "not_an_archive",
            f"the {inside or 'file'} holds no tar archive: make a tar of the images",
        )
    records: dict[str, str] = {}
    last = "its beginning"
    while any(header):
        if not is_header(header):
            raise damaged(f"the tar header after {last} is missing or damaged")
        kind, size = header[156:157], _number(header[124:136], "size", last)
        if kind in b"xgLKV":
            records |= _extension(stream, kind, size, last)
        else:
            name = records.get("path") or _name(header)
            body = _Body(stream, _size(records, size, kind, name), name)
            yield Entry(name, _kind(kind, name, records), body.size, body.read)
            body.skip()
            records, last = {}, repr(name)
        header = _block(stream, f"after {last}, without tar's end mark")
    while stream.read(PIECE):  # padding; the checksum of a compressed tar comes after it
        pass


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


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and prefix:  # GNU tar stores times in the place of the prefix
        name = prefix + b"/" + name
    return _text(name)


def _kind(flag: bytes, name: str, records: dict[str, str]) -> str:
    if flag in REFUSED:
        return REFUSED[flag]
    if flag == FOLDER or (flag in FILE and name.endswith("/")):  # "/" before POSIX
        return "folder"
    if flag in FILE and not any(key.startswith("GNU.sparse") for key in records):
        return "file"
    raise Unsupported(
        "archive_method",
        f"{name!r} is a tar entry of the kind {flag.decode('latin-1')!r}, perhaps a sparse file: "
        "pack plain files and folders only",
    )


def _size(records: dict[str, str], size: int, flag: bytes, name: str) -> int:
    if flag not in FILE:
        return 0  # links and folders have no data, whatever size they announce
    if "size" not in records:
        return size
    if not records["size"].isdecimal() or len(records["size"]) > 20:
        raise damaged(f"the size of {name!r} is not a number")
    return int(records["size"])


def _extension(stream: Readable, flag: bytes, size: int, after: str) -> dict[str, str]:
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
    if flag == b"L":
        return {"path": _text(data[:size].split(b"\0", 1)[0])}
    return _pax(data[:size], after) if flag == b"x" else {}


def _pax(data: bytes, after: str) -> dict[str, str]:
    r"""Parse records such as "27 path=a/long/name.png\n"; the number is the record's length."""
    records: dict[str, str] = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 10)
        digits = data[at:blank] if blank > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals or not blank < end <= len(data) or len(records) == MAX_RECORDS:
            raise damaged(f"a pax header after {after} is malformed")
        records[_text(key)] = _text(value)
        at = end
    return records
