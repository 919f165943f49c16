"""Compressed bodies are read as plain ones, within the limits of plain ones."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from app.api.http.content_encoding import MAX_MEMBERS, PIECE, WINDOW, Decompressor, Unpacked
from app.errors import Malformed
from tests.support.archives import archive, noise_at
from tests.support.problems import problem
from tests.support.service import Service

JSON = {"Content-Type": "application/json"}
BODY = json.dumps({"name": "n", "backbone": "resnet_micro_32", "scope": "head"} | {"x": 1}).encode()


def raw_deflate(data: bytes) -> bytes:
    """Deflate without zlib's frame, as some clients send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "identity": bytes,
}


def unpacked(encoding: str, packed: bytes, step: int) -> bytes:
    made, pieces = Decompressor(encoding.lower()), []
    for at in range(0, len(packed), step):
        new = list(made.pieces(packed[at : at + step], last=at + step >= len(packed)))
        assert all(0 < len(piece) <= PIECE for piece in new)
        pieces += new
    return b"".join(pieces)


@pytest.mark.parametrize("encoding", PACKED)
def test_a_compressed_body_is_read_as_a_plain_one(shared: Service, encoding: str) -> None:
    plain = shared.client.post("/v1/spaces", content=BODY, headers=JSON)
    headers = JSON | {"Content-Encoding": encoding}
    packed = shared.client.post("/v1/spaces", content=PACKED[encoding](BODY), headers=headers)
    told = problem(packed, 422, "invalid_request")["detail"]
    assert told == problem(plain, 422, "invalid_request")["detail"] and "/x" in told


@pytest.mark.parametrize("encoding", [name for name in PACKED if name != "identity"])
@pytest.mark.parametrize("step", [2, 1000, 2**20])
def test_the_pieces_are_the_body_however_it_arrives(encoding: str, step: int) -> None:
    noise = Random(0).randbytes(3000)
    body = noise + bytes(3 * PIECE) + noise
    assert unpacked(encoding, PACKED[encoding](body), step) == body


def test_an_archive_may_be_sent_compressed(shared: Service) -> None:
    form = shared.client.build_request(
        "POST", "/v1/datasets", files={"file": ("pets.zip", archive(noise_at("cat/1.png")))}
    )
    headers = {"Content-Type": form.headers["Content-Type"], "Content-Encoding": "gzip"}
    packed = gzip.compress(form.read())
    answer = shared.client.post("/v1/datasets", content=packed, headers=headers)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("encoding", "body", "told"),
    [
        ("gzip", b"{}", "cannot be unpacked"),
        ("gzip", gzip.compress(BODY)[:-4], "ends too early"),
        ("gzip", gzip.compress(BODY) + b"more", "cannot be unpacked"),
        ("deflate", zlib.compress(BODY) + b"more", "goes on behind its end"),
        ("deflate", b"\xff\xff\xff", "cannot be unpacked"),
    ],
    ids=["plain", "cut", "followed", "followed-deflate", "plain-deflate"],
)
def test_what_is_not_compressed_so_is_told(
    shared: Service, encoding: str, body: bytes, told: str
) -> None:
    headers = JSON | {"Content-Encoding": encoding}
    answer = shared.client.post("/v1/spaces", content=body, headers=headers)
    detail = problem(answer, 400, "malformed_encoding")["detail"]
    assert f"Content-Encoding {encoding}" in detail and told in detail


def test_cutting_off_is_told_by_the_decompressor_too() -> None:
    with pytest.raises(Malformed, match="ends too early"):
        list(Decompressor("gzip").pieces(gzip.compress(BODY)[:20], last=True))


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_another_encoding_is_refused_with_those_that_are_read(
    shared: Service, encoding: str
) -> None:
    headers = JSON | {"Content-Encoding": encoding}
    answer = shared.client.post("/v1/spaces", content=b"{}", headers=headers)
    detail = problem(answer, 415, "unsupported_content_encoding")["detail"]
    assert f"Content-Encoding {encoding}" in detail and "gzip" in detail
    assert answer.headers["Accept-Encoding"] == "gzip, deflate, identity"


def test_a_header_without_a_body_means_nothing(shared: Service) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert shared.client.get("/v1/spaces", headers=headers).status_code == 200


LIMIT = 2**16


@pytest.mark.parametrize("path", ["/v1/spaces", "/v1/predictions", "/v1/datasets"])
def test_a_bomb_ends_at_the_limit_and_leaves_nothing(
    serve: Callable[..., Service], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(max_request_bytes=LIMIT)
    made: list[int] = []
    of_zlib = Decompressor.pieces

    def counted(self: Decompressor, data: bytes, *, last: bool) -> Iterator[bytes]:
        for piece in of_zlib(self, data, last=last):
            made.append(len(piece))
            yield piece

    monkeypatch.setattr(Decompressor, "pieces", counted)
    bomb = gzip.compress(bytes(100 * 2**20))
    media = "multipart/form-data; boundary=b" if path == "/v1/datasets" else "application/json"
    headers = {"Content-Type": media, "Content-Encoding": "gzip"}
    head = b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"
    body = gzip.compress(head) + bomb if path == "/v1/datasets" else bomb
    for chunks in (body, iter([body])):
        made.clear()
        answer = service.client.post(path, content=chunks, headers=headers)
        problem(answer, 413, "request_too_large")
        assert sum(made) <= LIMIT + 2 * PIECE
    scratch: Path = service.settings.data_dir / "scratch"
    assert not scratch.exists() or not list(scratch.iterdir())


EMPTY = gzip.compress(b"")  # a member that stands for nothing
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # the same, within a member


@pytest.mark.parametrize("path", ["/v1/spaces", "/v1/predictions", "/v1/datasets"])
@pytest.mark.parametrize(
    "body",
    [
        EMPTY * (1 + LIMIT // len(EMPTY)),
        EMPTY[:10] + EMPTY_BLOCK * (1 + LIMIT // len(EMPTY_BLOCK)),
    ],
    ids=["members", "blocks"],
)
def test_compressed_bytes_count_towards_the_limit_also_where_they_stand_for_nothing(
    serve: Callable[..., Service], path: str, body: bytes
) -> None:
    service = serve(max_request_bytes=LIMIT)
    media = "multipart/form-data; boundary=b" if path == "/v1/datasets" else "application/json"
    headers = {"Content-Type": media, "Content-Encoding": "gzip"}
    for chunks in (body, iter([body[:LIMIT], body[LIMIT:]])):
        answer = service.client.post(path, content=chunks, headers=headers)
        problem(answer, 413, "request_too_large")


def test_the_members_of_a_body_are_counted() -> None:
    as_many_as_allowed = EMPTY * MAX_MEMBERS
    assert list(Decompressor("gzip").pieces(as_many_as_allowed, last=True)) == []
    with pytest.raises(Malformed, match=f"has more than {MAX_MEMBERS} members"):
        list(Decompressor("gzip").pieces(as_many_as_allowed + EMPTY, last=True))


def test_others_have_their_turn_while_bytes_are_unpacked_that_stand_for_nothing() -> None:
    windows, turns = 20, 0
    message = {"type": "http.request", "body": EMPTY[:10] + EMPTY_BLOCK * (windows * WINDOW // 5)}

    async def receive() -> dict:
        return message | {"more_body": False}

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def unpack() -> None:
        counting = asyncio.create_task(count())
        with pytest.raises(Malformed, match="ends too early"):
            await Unpacked(receive, Decompressor("gzip")).receive()
        counting.cancel()

    asyncio.run(unpack())
    assert turns >= windows - 1, "the counting begins with the first turn"
