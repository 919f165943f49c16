"""Ranges of bytes mean what RFC 9110, section 14, says; its own examples are among the cases."""

import email
from email.policy import HTTP

import pytest

from app.api.http.byte_ranges import MAX_RANGES, RangeUnknown, satisfiable
from tests.support.problems import problem
from tests.support.two_components import TwoComponents

SIZE = 10_000  # of the file in the examples of section 14.1.2


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-999", [(500, 1000)]),
        ("bytes=-500", [(9500, 10_000)]),
        ("bytes=9500-", [(9500, 10_000)]),
        ("bytes=0-0,-1", [(0, 1), (9999, 10_000)]),
        ("bytes= 0-999, 4500-5499, -1000", [(0, 1000), (4500, 5500), (9000, 10_000)]),
        ("bytes=500-700,601-999", [(500, 1000)]),
        ("BYTES = 5-5 , ,7-7", [(5, 6), (7, 8)]),
        ("bytes=9990-20000", [(9990, 10_000)]),
        ("bytes=-20000", [(0, 10_000)]),
        ("bytes=0-9,20000-", [(0, 10)]),  # what cannot be had is left out
        ("bytes=10000-", []),
        ("bytes=-0", []),
    ],
)
def test_a_range_is_what_the_file_has_of_it(header: str, expected: list) -> None:
    assert satisfiable(header, SIZE) == expected


@pytest.mark.parametrize(
    "header",
    [
        *("", "bytes", "bytes=", "bytes=,", "bytes=a-b", "bytes=9-5", "lines=1-2", "0-499"),
        *("bytes=+1-2", "bytes=1_0-20", "bytes=٣-٤", "bytes=1-2;3-4", "bytes=--5", "bytes=-"),
        *("bytes=0-1,9-5", "bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1)), "bytes=" + "9" * 5000),
    ],
)
def test_what_is_no_range_of_bytes_is_passed_over(header: str) -> None:
    with pytest.raises(RangeUnknown):
        satisfiable(header, SIZE)


def test_an_empty_file_has_no_part() -> None:
    assert satisfiable("bytes=0-", 0) == satisfiable("bytes=-1", 0) == []


@pytest.fixture
def url(two: TwoComponents) -> str:
    return f"/v1/components/{two.pets}/delta"


def test_several_parts_come_as_several_parts(two: TwoComponents, url: str) -> None:
    whole = two.service.client.get(url).content
    answer = two.service.client.get(url, headers={"Range": "bytes=100-109,0-9,99999999999-"})
    assert answer.status_code == 206
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=HTTP)
    parts = [part.get_payload(decode=True) for part in message.iter_parts()]
    assert parts == [whole[0:10], whole[100:110]]


def test_a_file_that_has_changed_is_sent_whole(two: TwoComponents, url: str) -> None:
    client = two.service.client
    whole = client.get(url)
    size, etag = len(whole.content), whole.headers["ETag"]
    for version in ('"another"', f"W/{etag}"):
        for part in ("bytes=0-9", f"bytes={size}-"):  # the old file may have been the longer one
            answer = client.get(url, headers={"Range": part, "If-Range": version})
            assert (answer.status_code, len(answer.content)) == (200, size)
    same = client.get(url, headers={"Range": "bytes=0-9", "If-Range": etag})
    assert (same.status_code, len(same.content)) == (206, 10)
    beyond = client.get(url, headers={"Range": f"bytes={size}-", "If-Range": etag})
    problem(beyond, 416, "range_not_satisfiable")


def test_head_passes_a_range_over_as_it_is_of_get_alone(two: TwoComponents, url: str) -> None:
    head = two.service.client.head(url, headers={"Range": "bytes=0-9"})
    assert head.status_code == 200 and "Content-Range" not in head.headers
    assert head.headers["Content-Length"] == str(len(two.service.client.get(url).content))
