"""Kept cards: written once for all who ask, and in nobody's way while they are written."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from app.inference.space_cards import SpaceCards

KEY = ("scans", "f" * 64)
SECONDS = 10.0  # after which a test that waits has failed


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[SpaceCards]:
    made = SpaceCards(tmp_path)
    yield made
    made.forget()


class Writing:
    """A card's writing that begins and ends when the test says so."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.times = Event(), Event(), 0

    def __call__(self, path: Path) -> str:
        self.times += 1
        self.begun.set()
        assert self.may_end.wait(SECONDS)
        path.write_bytes(b"card")
        return "version"


def quick(path: Path) -> str:
    path.write_bytes(b"other")
    return "other version"


def test_a_deletion_and_other_cards_wait_for_no_card_that_is_being_written(cards):
    slow = Writing()
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(cards.open, KEY, slow)
        assert slow.begun.wait(SECONDS)
        pool.submit(cards.forget, "scans").result(SECONDS)
        other = pool.submit(cards.open, ("photos", "e" * 64), quick).result(SECONDS)
        assert not asked.done()
        slow.may_end.set()
        assert (asked.result(SECONDS).file.read(), other.file.read()) == (b"card", b"other")


def test_a_card_that_was_forgotten_while_it_was_written_is_not_kept(cards):
    slow = Writing()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(cards.open, KEY, slow)
        assert slow.begun.wait(SECONDS)
        cards.forget("scans")
        slow.may_end.set()
        asked.result(SECONDS).file.close()
    assert cards.open(KEY, quick).version == "other version"


def test_those_who_ask_for_one_card_at_a_time_get_the_one_that_is_written_once(cards):
    slow = Writing()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(cards.open, KEY, slow) for _ in range(4)]
        slow.may_end.set()
        assert {each.result(SECONDS).file.read() for each in asked} == {b"card"}
    assert slow.times == 1


def test_a_card_that_could_not_be_written_is_written_by_the_next_who_asks(cards):
    def fail(path: Path) -> str:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        cards.open(KEY, fail)
    assert cards.open(KEY, quick).file.read() == b"other"
