"""The tar format (ustar, GNU, pax), read once from front to back with one header in memory.

Follows POSIX.1-2017 pax and the GNU tar manual, "Basic Tar Format". Unlike the standard library's
reader it reports a damaged header or a missing end mark, and does not take it for the end.
"""

from collections.abc import Iterator

from app.archives.entries import Entry, Readable, damaged, name_of, truncated
from app.errors import TooLarge, Unsupported
from app.images import file_kinds

BLOCK = 512
MAX_HEADER = 2**16  # bytes of a long name or of a pax header
MAX_RECORDS = 200  # of one pax header
PIECE = 2**20
END_MARK = "its end mark"
FILE, HARD_LINK, FOLDER = b"0\x007", b"1", b"5"
FOLDER_OF_BACKUP = b"D"  # GNU tar's, with the names of its files as data
LONG_NAMES = {b"L": "path", b"K": "linkpath"}  # GNU's: kind of header -> as pax calls it
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


def entries(
    stream: Readable, code_page: str | None = None, inside: str | None = None
) -> Iterator[Entry]:
    """Yield every entry of the tar, and of tars that follow its end mark.

    Names that are not in UTF-8 are in the code page, if one is given; `inside` names the
    compression around the tar, if any.

    Raises:
        Malformed: `archive_truncated`, `archive_damaged`.
        Unsupported: `not_an_archive`, `archive_method`.
        TooLarge: `header_too_large`.
    """
    source = _Source(stream)
    header = source.read(BLOCK)
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
            records |= _extension(source, kind, size, last)
        else:
            name, fault = name_of(records.get("path") or _name(header), code_page)
            body = _Body(source, _size(records, size, kind, name), name)
            yield _entry(header, name, fault, records, body, code_page)
            body.skip()
            records, last = {}, repr(name)
        header = _block(source, f"after {last}, without tar's end mark")
        if not any(header) and source.skip_zeros():
            header, last = _block(source, "after its end mark"), END_MARK


class _Source:
    """A stream that can be looked at ahead."""

    def __init__(self, stream: Readable) -> None:
        self._stream, self._ahead = stream, b""

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes, fewer only at the end."""
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data if len(data) == size else data + self._stream.read(size - len(data))

    def skip_zeros(self) -> bool:
        """Skip blocks of zeros; return whether a block follows, and else read to the end.

        Less than a block is no entry: some tools pad the end. The checksum of a compressed tar
        comes after all.
        """
        while data := self.read(PIECE):
            zeros = len(data) - len(data.lstrip(b"\0"))
            if zeros < len(data):
                self._ahead = data[zeros - zeros % BLOCK :] + self._ahead
                self._ahead += self._stream.read(max(0, BLOCK - len(self._ahead)))
                return len(self._ahead) >= BLOCK
        return False


class _Body:
    """The unread bytes of one entry."""

    def __init__(self, stream: _Source, size: int, name: str) -> None:
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
    code_page: str | None,
) -> Entry:
    flag = header[156:157]
    kind = _kind(flag, name, records)
    if flag == HARD_LINK:
        raw = records.get("linkpath") or header[157:257].split(b"\0", 1)[0]
        target, unread = name_of(raw, code_page)
        return Entry(name, kind, 0, body.read, fault or unread, target)
    return Entry(name, kind, 0 if flag == FOLDER_OF_BACKUP else body.size, body.read, fault)


def _no_header(last: str) -> str:
    if last == END_MARK:
        return "after tar's end mark it goes on with bytes that are no tar entry"
    return f"the tar header after {last} is missing or damaged"


def _block(stream: _Source, where: str) -> bytes:
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


def _extension(stream: _Source, flag: bytes, size: int, after: str) -> dict[str, bytes]:
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
        digits = data[at:blank] if blank > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals or not blank < end <= len(data) or len(records) == MAX_RECORDS:
            raise damaged(f"a pax header after {after} is malformed")
        records[key.decode("latin-1")] = value
        at = end
    return records
