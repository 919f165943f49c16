"""Whose image is next: of the request that has had least, and never all places for heavy ones."""

from threading import Event, Thread

import pytest

from app.errors import NotReady
from app.images import turns
from app.images.budget import Budget
from app.images.shares import Shares
from app.images.turns import Turns


class Held:
    """A place held by a thread until it is released."""

    def __init__(self, under_test: Turns, budget: Budget, *, is_heavy: bool = False) -> None:
        self.inside, self.may_end, self.refusal = Event(), Event(), None
        self._given = under_test, budget, is_heavy
        self.thread = Thread(target=self._hold, daemon=True)
        self.thread.start()

    def _hold(self) -> None:
        under_test, budget, is_heavy = self._given
        try:
            with under_test.turn(budget, is_heavy=is_heavy):
                self.inside.set()
                assert self.may_end.wait(30)
        except NotReady as refusal:
            self.refusal = refusal

    def release(self) -> None:
        self.may_end.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def spent(seconds: float, **kind: bool) -> Budget:
    budget = Budget(**kind)
    budget.spend(seconds)
    return budget


def waiting(under_test: Turns, budget: Budget, **kind: bool) -> Held:
    """Return a place that is waited for."""
    before = len(under_test._waiting)
    held = Held(under_test, budget, **kind)
    while len(under_test._waiting) == before:
        assert not held.inside.wait(0.001)
    return held


def test_the_request_that_has_had_least_is_next_whenever_it_came():
    under_test = Turns(1, 1)
    first = Held(under_test, spent(0))
    assert first.inside.wait(30)
    greedy, modest, new = (waiting(under_test, spent(seconds)) for seconds in (9, 3, 0))
    for held, after in ((first, new), (new, modest), (modest, greedy)):
        held.release()
        assert after.inside.wait(30)
    greedy.release()


def test_heavy_images_leave_places_for_light_ones():
    under_test = Turns(3, 1)
    heavy = Held(under_test, spent(0), is_heavy=True)
    assert heavy.inside.wait(30)
    second = waiting(under_test, spent(0), is_heavy=True)
    light = [Held(under_test, spent(100)) for _ in range(2)]
    assert all(held.inside.wait(30) for held in light)
    heavy.release()
    assert second.inside.wait(30)
    for held in (second, *light):
        held.release()


def test_of_too_many_that_wait_the_one_that_has_had_most_is_refused(monkeypatch):
    monkeypatch.setattr(turns, "MAX_WAITING", 2)
    under_test = Turns(1, 1)
    first = Held(under_test, spent(0))
    assert first.inside.wait(30)
    modest, greedy = waiting(under_test, spent(1)), waiting(under_test, spent(9))
    patient = waiting(under_test, spent(99, is_patient=True))
    new = Held(under_test, spent(0))
    greedy.thread.join(30)
    assert greedy.refusal.code == "decoding_busy" and greedy.refusal.extra["retry_after"] > 0
    for held, after in ((first, new), (new, modest), (modest, patient)):
        held.release()
        assert after.inside.wait(30)
    patient.release()


def test_requests_that_have_had_nothing_all_wait_however_many_they_are(monkeypatch):
    monkeypatch.setattr(turns, "MAX_WAITING", 2)
    under_test = Turns(1, 1)
    first = Held(under_test, spent(0))
    assert first.inside.wait(30)
    new = [waiting(under_test, spent(0)) for _ in range(6)]
    for held, after in zip([first, *new], new, strict=False):
        held.release()
        assert after.inside.wait(30)
    new[-1].release()
    assert all(held.refusal is None for held in new)


def test_nobody_waits_for_ever(monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    under_test = Turns(1, 1)
    with (
        under_test.turn(spent(0), is_heavy=False),
        pytest.raises(NotReady, match="send it again later"),
        under_test.turn(spent(0), is_heavy=False),
    ):
        pytest.fail("there was no place")
    with under_test.turn(spent(0), is_heavy=True):  # all places are free again
        assert not under_test._waiting


def test_the_client_that_has_had_least_is_next_though_each_request_is_its_first():
    under_test, shares = Turns(1, 1), Shares()
    shares.of("greedy").spend(9)
    first = Held(under_test, Budget(share=shares.of("greedy")))
    assert first.inside.wait(30)
    greedy = waiting(under_test, Budget(share=shares.of("greedy")))
    new = waiting(under_test, Budget(share=shares.of("new")))
    for held, after in ((first, new), (new, greedy)):
        held.release()
        assert after.inside.wait(30)
    greedy.release()


def test_requests_of_one_client_keep_their_order():
    under_test, share = Turns(1, 1), Shares().of("one")
    share.spend(3)
    first = Held(under_test, Budget(share=share))
    assert first.inside.wait(30)
    later = [waiting(under_test, Budget(share=share)) for _ in range(4)]
    for held, after in zip([first, *later], later, strict=False):
        held.release()
        assert after.inside.wait(30)
    later[-1].release()
