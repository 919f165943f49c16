"""Token buckets keep to their rate, and to their bound of memory."""

import pytest

from app.access.buckets import Buckets
from tests.support.clocks import StandingClock


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


def test_a_second_s_worth_can_be_taken_at_once_and_then_as_it_comes(clock):
    buckets = Buckets(clock)
    assert [buckets.take("a", 4.0) for _ in range(4)] == [0.0] * 4
    assert buckets.take("a", 4.0) == pytest.approx(0.25)
    clock.time += 0.25
    assert buckets.take("a", 4.0) == 0.0
    assert buckets.take("a", 4.0) > 0.0


def test_over_a_long_time_no_more_passes_than_the_rate(clock):
    buckets, passed = Buckets(clock), 0
    for _ in range(10_000):
        clock.time += 0.01
        passed += buckets.take("a", 7.0) == 0.0
    assert passed == pytest.approx(7 * 100, abs=8)


def test_a_refused_request_costs_nothing(clock):
    buckets = Buckets(clock)
    buckets.take("a", 1.0)
    waits = [buckets.take("a", 1.0) for _ in range(100)]
    assert waits == [1.0] * 100


def test_more_than_the_bucket_holds_is_taken_from_a_full_one_and_made_up_for(clock):
    buckets = Buckets(clock)
    assert buckets.take("a", 5.0, 64) == 0.0
    assert buckets.take("a", 5.0, 1) == pytest.approx((64 - 5 + 1) / 5)
    clock.time += 64 / 5 + 1e-6
    assert buckets.take("a", 5.0, 64) == 0.0


def test_what_is_charged_is_made_up_for_however_little_there_was(clock):
    buckets = Buckets(clock)
    assert buckets.take("a", 2.0, 2) == 0.0
    buckets.charge("a", 2.0, 6)
    assert buckets.take("a", 2.0) == 3.5  # 6 that are owed, and the one that is asked for
    clock.time += 3.5
    assert buckets.take("a", 2.0) == 0.0


def test_a_rate_below_one_a_second_still_lets_one_pass(clock):
    buckets = Buckets(clock)
    assert buckets.take("a", 0.1) == 0.0
    assert buckets.take("a", 0.1) == pytest.approx(10.0)


def test_names_have_buckets_of_their_own(clock):
    buckets = Buckets(clock)
    assert (buckets.take("a", 1.0), buckets.take("b", 1.0)) == (0.0, 0.0)


def test_the_table_is_bounded_and_drops_the_bucket_unused_for_longest(clock):
    buckets = Buckets(clock, most=3)
    for name in "abcd":
        buckets.take(name, 1.0)
    assert len(buckets) == 3
    assert buckets.take("d", 1.0) > 0.0  # still known
    assert buckets.take("a", 1.0) == 0.0  # dropped, so full again


def test_looking_takes_nothing_and_adds_nothing(clock):
    buckets = Buckets(clock)
    assert buckets.wait("a", 1.0, size=2) == 0.0
    assert len(buckets) == 0
