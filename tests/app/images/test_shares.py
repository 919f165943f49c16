"""A client's share of decoding: what its images took lately, and whether one of them was heavy."""

import pytest

from app.images import shares
from app.images.budget import Budget, OutOfBudget
from app.images.shares import COSTLY_SECONDS, HALF_LIFE, Shares
from tests.support.clocks import StandingClock


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


def test_what_a_client_had_counts_for_all_its_requests_and_half_as_much_later(clock):
    known = Shares(clock)
    for seconds in (1.0, 3.0):
        Budget(share=known.of("one")).spend(seconds)
    assert known.of("one").recent == pytest.approx(4)
    assert known.of("other").recent == 0
    clock.time += HALF_LIFE
    Budget(share=known.of("one")).spend(1.0)
    assert known.of("one").recent == pytest.approx(3)


def test_a_copy_has_as_much_and_what_it_spends_is_its_own(clock):
    share = Shares(clock).of("one")
    share.spend(2.0)
    other = share.copy()
    other.spend(5.0)
    assert (share.recent, other.recent) == pytest.approx((2, 7))


def test_a_client_whose_image_was_heavy_is_costly_for_a_while(clock):
    known = Shares(clock)
    known.of("one").note(is_heavy=True)
    assert (known.of("one").is_costly, known.of("other").is_costly) == (True, False)
    clock.time += COSTLY_SECONDS
    assert not known.of("one").is_costly


def test_a_client_is_proven_by_a_light_image_until_one_is_heavy(clock):
    share = Shares(clock).of("one")
    assert not share.is_proven
    share.note(is_heavy=False)
    assert share.is_proven
    share.note(is_heavy=True)
    assert not share.is_proven
    clock.time += COSTLY_SECONDS
    assert (share.is_costly, share.is_proven) == (False, False)


def test_the_clients_that_were_seen_longest_ago_are_forgotten(clock, monkeypatch):
    monkeypatch.setattr(shares, "MAX_CLIENTS", 2)
    known = Shares(clock)
    for name in ("one", "two"):
        known.of(name).spend(1.0)
    known.of("one")
    known.of("three")
    assert [known.of(name).recent for name in ("one", "two")] == [1, 0]


def test_levels_compare_shares_whenever_each_is_asked(clock):
    known = Shares(clock)
    early, late = known.of("early"), known.of("late")
    early.spend(8.0)
    first = early.level
    clock.time += HALF_LIFE
    late.spend(3.0)
    assert early.recent == pytest.approx(4)
    assert early.level == first
    assert known.of("new").level < late.level < early.level
    late.spend(2.0)
    assert late.level > early.level


def test_a_request_whose_client_has_left_costs_the_client_nothing_more(clock):
    share = Shares(clock).of("one")
    budget = Budget(6.0, share=share)
    budget.spend(1.0)
    budget.end()
    assert share.recent == pytest.approx(1)
    with pytest.raises(OutOfBudget, match="used up"):
        budget.allowance(1.0)
