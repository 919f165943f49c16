"""Downloads are asked for again until they begin, and are what the service has or are refused."""

import asyncio
import errno
import gzip
import hashlib
from typing import Any

import pytest

from tangent_composer import AsyncClient, Client
from tangent_composer.client import errors
from tests.support.answering import BUSY, answering, problem

SLOW = (429, {"Retry-After": "7"}, BUSY)
UNBEGUN = (200, {"Content-Length": "9"}, b"")
LINES = b'{"a": "\xe2\x80\xa8"}\n{"a": 2}\n'  # U+2028 ends no line of JSON


@pytest.mark.parametrize("first", [None, SLOW, problem(502, "x"), UNBEGUN])
def test_a_download_is_asked_for_again_until_it_begins(paused, tmp_path, first):
    etag = {"ETag": f'"{hashlib.sha256(LINES).hexdigest()}"'}
    for call in (
        lambda client: list(client.batch_predictions.results("bp_1")),
        lambda client: client.batch_predictions.save("bp_1", tmp_path / "found"),
        lambda client: client.spaces.card("site", tmp_path / "found"),
    ):
        with answering(first, first, (200, etag, LINES)) as (url, seen), Client(url) as client:
            found = call(client)
        assert len(seen) == 3
        if isinstance(found, list):
            assert found == [{"a": "\N{LINE SEPARATOR}"}, {"a": 2}]
        else:
            assert (tmp_path / "found").read_bytes() == LINES
    assert len(paused) == 6 and (first is not SLOW or set(paused) == {7.0})


def test_a_download_that_is_cut_after_it_began_is_told_and_not_repeated(paused):
    cut = (200, {"Content-Length": "99"}, LINES)
    with (
        answering(cut, (200, {}, LINES)) as (url, seen),
        Client(url) as client,
        pytest.raises(errors.NoAnswer),
    ):
        list(client.batch_predictions.results("bp_1"))
    assert (len(seen), paused) == (1, [])


def test_a_refused_download_is_told_with_its_code(paused):
    with (
        answering(problem(404, "batch_prediction_not_found")) as (url, seen),
        Client(url) as client,
        pytest.raises(errors.NotFound, match="so it is"),
    ):
        list(client.batch_predictions.results("bp_1"))
    assert len(seen) == 1


def test_the_asynchronous_client_repeats_downloads_too():
    async def lines(url: str) -> list[dict[str, Any]]:
        async with AsyncClient(url) as client:
            return [line async for line in client.batch_predictions.results("bp_1")]

    soon = (503, {"Retry-After": "0"}, BUSY)
    with answering(soon, UNBEGUN, (200, {}, LINES)) as (url, seen):
        assert len(asyncio.run(lines(url))) == 2
    assert len(seen) == 3


@pytest.mark.parametrize("place", [".", "none/found", "full"])
def test_a_place_that_cannot_be_written_is_refused_and_left_as_it_was(tmp_path, monkeypatch, place):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    if place == "full":
        monkeypatch.setattr("tangent_composer.client.downloads.os.replace", fail)
    etag = {"ETag": f'"{hashlib.sha256(LINES).hexdigest()}"'}
    for call in (
        lambda client: client.batch_predictions.save("bp_1", place),
        lambda client: client.spaces.card("site", place),
    ):
        with (
            answering((200, etag, LINES)) as (url, _),
            Client(url) as client,
            pytest.raises(errors.BadInput, match=f"^{place} cannot be written: "),
        ):
            call(client)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ['W/"{}"', '"{}-gzip"', 'W/"{}-br"'])
def test_a_proxy_that_packs_and_marks_the_etag_damages_no_download(tmp_path, form):
    packed = {"Content-Encoding": "gzip"}
    named = packed | {"ETag": form.format(hashlib.sha256(LINES).hexdigest())}
    wrong = packed | {"ETag": form.format("0" * 64)}
    for call in (
        lambda client: client.batch_predictions.save("bp_1", tmp_path / "found"),
        lambda client: client.spaces.card("site", tmp_path / "found"),
    ):
        answers = [(200, headers, gzip.compress(LINES)) for headers in (named, wrong)]
        with answering(*answers) as (url, _), Client(url) as client:
            call(client)
            assert (tmp_path / "found").read_bytes() == LINES
            with pytest.raises(errors.UnexpectedAnswer):
                call(client)
