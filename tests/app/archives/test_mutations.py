"""An archive that was changed anywhere is files or a problem, for work that its size bounds."""

import random
from collections.abc import Callable

import pytest

from app.errors import Malformed
from tests.support.archives import (
    KINDS,
    archive,
    contents,
    drain,
    noise_at,
    tar_header,
    tar_of,
    with_checksums,
)
from tests.support.work import bounded_work

MUTATIONS = 300  # of each kind of archive
MAX_LINES = 20_000  # that reading one may run: the whole archives take less than a tenth
FILES = noise_at("cat/1.png", f"dog/{'x' * 80}/{'y' * 80}.png", "猫/2.png") | {"cat/3.png": b""}
TOKENS = (b"\0", b" ", b"=", b"\n", b"9", b"0000", b"\xff\xff\xff\xff", b"PK\1\2", b"\x80")


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes after a few changes at random places."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, length = chance.randrange(len(changed)), chance.choice((1, 4, 8, 512))
        token = chance.choice((*TOKENS, bytes(changed[:length]), b""))
        if chance.random() < 0.3:  # a digit of the size that a header of a tar tells
            at, token, length = at // 512 * 512 + 134, b"%d" % chance.randrange(10), 1
        changed[at : at + chance.choice((len(token), length))] = token
    return bytes(changed) or b"\0"


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_archive_ends_after_bounded_work(kind: str) -> None:
    whole, chance = archive(FILES, kind), random.Random(kind)
    mended: Callable[[bytes], bytes] = with_checksums if kind.endswith("tar") else bytes
    with bounded_work(MAX_LINES // 10):
        assert contents(whole) == FILES
    for _ in range(MUTATIONS):
        with bounded_work(MAX_LINES):
            drain(mended(mutated(whole, chance)))


@pytest.mark.parametrize(
    "behind", [b"\0", b"\n", b" ", b"0", b"x=1\n", b"5 ab\n", b"11 =" + b"x" * 5]
)
def test_bytes_behind_a_pax_record_are_refused(behind: bytes) -> None:
    """The header says that they belong to it, and they are no record."""
    records = b"19 path=wolf/9.png\n" + behind
    data = tar_header(b"pax", len(records), b"x") + records.ljust(512, b"\0")
    with (
        bounded_work(MAX_LINES),
        pytest.raises(Malformed, match="pax header after its beginning is"),
    ):
        contents(data + tar_of({"cat/1.png": b"x"}))
