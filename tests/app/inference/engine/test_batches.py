"""Batches: what they mix, whom they take, and what each order gets whatever else is in them."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from time import sleep

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import NotReady, TooManyRequests
from app.inference.engine.batches import Batches
from app.inference.engine.orders import Order
from tests.support.models import images, relative, space
from tests.support.random_components import delta

SECONDS = 30


class Watched:
    """Batches of which each is noted: the spaces' scope, and the images of every order."""

    def __init__(self, **given) -> None:
        self.seen: list[tuple[str, list[int]]] = []
        self.batches = Batches(seen=self._note, **given)

    def _note(self, batch, seconds) -> None:
        self.seen.append((batch[0][0].space.scope, [len(images) for _, images in batch]))

    def begin(self, threads: ThreadPoolExecutor, *orders):
        """Begin the orders in this order while the device is taken; return their futures."""
        with self.batches.turn:
            futures = []
            for where, x, each, more in orders:
                before = self.batches.waiting
                futures.append(threads.submit(self.batches.run, order(where, x, each, **more)))
                wait_for(lambda most=before + len(x): self.batches.waiting == most)
        return futures


def order(where, x, each, company="mixed", is_wanted=lambda: True) -> Order:
    return Order(where, list(x), each, company, is_wanted)


def wait_for(condition) -> None:
    for _ in range(1000):
        if condition():
            return
        sleep(0.002)
    raise AssertionError("it did not come about")


@pytest.fixture
def threads():
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def watched():
    found = Watched(most_images=8)
    yield found
    found.batches.close()


def rows(future) -> torch.Tensor:
    return future.result(SECONDS).logits


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    scope=st.sampled_from(["head2toe", "last-block"]),
    most=st.integers(1, 9),
)
def test_every_order_gets_its_own_answer_in_its_order(sizes, scope, most):
    where = space("mini", scope)
    deltas = [delta(where, 0), delta(where, 1, ("bee", "cat"))]
    watched = Watched(most_images=most)
    orders = [(where, images(16, n), deltas[i % 2], {}) for i, n in enumerate(sizes)]
    with ThreadPoolExecutor(8) as threads:
        found = [rows(future) for future in watched.begin(threads, *orders)]
    watched.batches.close()
    for (_, x, each, _), logits in zip(orders, found, strict=True):
        assert relative(logits, where.logits(x, each)) <= 1e-6
    assert max(sum(parts) for _, parts in watched.seen) <= most
    assert sum(sum(parts) for _, parts in watched.seen) == sum(sizes)


def test_a_batch_takes_an_even_share_of_each_order_and_fills_up_from_the_first(watched, threads):
    where = space("mini", "head")
    each, many, one = delta(where, 0), images(16, 20), images(16, 1)
    for future in watched.begin(threads, *[(where, x, each, {}) for x in (many, one, one)]):
        rows(future)
    assert watched.seen[0] == ("head", [6, 1, 1])
    assert [parts for _, parts in watched.seen[1:]] == [[8], [6]]


def test_spaces_take_turns_so_that_none_waits_for_all_of_anothers_images(watched, threads):
    one, other = space("mini", "head"), space("mini", "last-block")
    orders = [(one, images(16, 24), delta(one, 0), {}), (other, images(16, 8), delta(other, 0), {})]
    for future in watched.begin(threads, *orders):
        rows(future)
    assert [scope for scope, _ in watched.seen] == ["head", "last-block", "head", "head"]


def test_an_image_in_a_pass_of_its_own_has_the_same_bits_whatever_else_waits(watched, threads):
    where = space("mini", "last-block")
    x, each, alone = images(16, 3), delta(where, 0), {"company": "each"}
    expected = torch.cat([where.logits(image[None], each) for image in x])
    noise = (where, images(16, 5), delta(where, 1), {})
    found = watched.begin(threads, noise, (where, x, each, alone), noise)
    assert torch.equal(rows(found[1]), expected)


def test_images_that_go_together_have_the_bits_of_one_call(watched, threads):
    where = space("mini", "last-block")
    x, each = images(16, 40), delta(where, 0)
    noise = (where, images(16, 5), delta(where, 1), {})
    found = watched.begin(threads, noise, (where, x, each, {"company": "together"}), noise)
    assert torch.equal(rows(found[1]), where.logits(x, each))


def test_many_images_of_one_order_hold_up_no_order_that_comes_after(watched, threads):
    where = space("mini", "head")
    each, many, few = delta(where, 0), images(16, 64), images(16, 2)
    large, *small = watched.begin(threads, *[(where, x, each, {}) for x in (many, few, few)])
    for future in small:
        rows(future)
    assert rows(large).shape[0] == 64
    shared = [place for place, (_, parts) in enumerate(watched.seen) if len(parts) > 1]
    assert max(shared) < 3 and len(watched.seen) >= 8  # the small ones were done with the first


def test_an_order_alone_shares_no_batch_and_lets_others_between_its_own(watched, threads):
    where = space("mini", "last-block")
    x, each = images(16, 20), delta(where, 0)
    noise = (where, images(16, 3), delta(where, 1), {})
    alone, *others = watched.begin(threads, (where, x, each, {"company": "alone"}), noise, noise)
    expected = [where.logits(x[start : start + 8], each) for start in (0, 8, 16)]
    assert torch.equal(rows(alone), torch.cat(expected))
    for future in others:
        rows(future)
    assert [parts for _, parts in watched.seen] == [[8], [3, 3], [8], [4]]


def test_images_in_passes_of_their_own_let_others_between_them(watched, threads):
    where = space("mini", "last-block")
    given, each = {"company": "each"}, delta(where, 0)
    many, few, noise = images(16, 9), images(16, 2), images(16, 3)
    orders = [(where, x, each, more) for x, more in ((many, given), (few, given), (noise, {}))]
    large, *small = watched.begin(threads, *orders)
    for found in small:
        rows(found)
    assert torch.equal(rows(large), torch.cat([where.logits(image[None], each) for image in many]))
    assert [parts for _, parts in watched.seen[:6]] == [[1], [1], [3], [1], [1], [1]]


def test_many_images_in_mixed_batches_let_a_pass_of_its_own_between_them(watched, threads):
    where = space("mini", "head")
    each, alone = delta(where, 0), {"company": "each"}
    orders = [(where, images(16, 24), each, {}), (where, images(16, 1), each, alone)]
    for future in watched.begin(threads, *orders):
        rows(future)
    assert [parts for _, parts in watched.seen] == [[8], [1], [8], [8]]


def test_a_request_behind_more_than_a_batch_holds_has_its_turn_in_the_next_one():
    where, seen = space("mini", "head"), []
    batches = Batches(most_images=8, seen=lambda batch, _: seen.append([one for one, _ in batch]))
    orders = [order(where, images(16, n), delta(where, 0)) for n in [3] * 8 + [1]]
    with batches.turn:
        list(map(batches.enqueue, orders))
    for each in orders:
        rows(each.done)
    batches.close()
    assert seen[0] == orders[:8] and orders[8] in seen[1]


def test_a_fault_of_one_order_is_its_own_only(watched, threads):
    where = space("mini", "head")
    each, wrong = delta(where, 0), [torch.zeros(3, 5, 5)]
    good = (where, images(16, 2), each, {})
    found = watched.begin(threads, good, (where, wrong, each, {}), good)
    assert rows(found[0]).shape == rows(found[2]).shape == (2, len(each.labels))
    with pytest.raises(AssertionError, match="Input height"):
        found[1].result(SECONDS)
    assert watched.batches.waiting == 0


def test_a_long_order_that_fails_leaves_nothing_behind(watched, threads, monkeypatch):
    where = space("mini", "head")
    each = delta(where, 0)

    def broken(*given, **more):
        raise RuntimeError("the device is lost")

    with monkeypatch.context() as patch:
        patch.setattr(where, "logits", broken)
        [found] = watched.begin(threads, (where, images(16, 20), each, {}))
        with pytest.raises(RuntimeError, match="the device is lost"):
            found.result(SECONDS)
    wait_for(lambda: watched.batches.waiting == 0)
    [found] = watched.begin(threads, (where, images(16, 2), each, {}))
    assert rows(found).shape == (2, len(each.labels))


def test_images_of_a_client_that_has_left_are_not_computed(watched, threads):
    where = space("mini", "head")
    each, gone = delta(where, 0), {"is_wanted": lambda: False}
    found = watched.begin(
        threads, (where, images(16, 4), each, gone), (where, images(16, 2), each, {})
    )
    with pytest.raises(CancelledError):
        found[0].result(SECONDS)
    assert rows(found[1]).shape[0] == 2
    assert watched.seen == [("head", [2])]


def test_a_full_queue_refuses_what_comes_next_and_keeps_what_waits(threads):
    where = space("mini", "head")
    each, watched = delta(where, 0), Watched(most_waiting=10)
    with watched.batches.turn:
        first = threads.submit(watched.batches.run, order(where, images(16, 9), each))
        wait_for(lambda: watched.batches.waiting == 9)
        with pytest.raises(TooManyRequests, match=r"9 images wait .* the most are 10") as caught:
            watched.batches.run(order(where, images(16, 2), each))
    assert caught.value.extra["retry_after"] > 0
    assert rows(first).shape[0] == 9
    watched.batches.close()


def test_one_order_larger_than_the_queue_is_taken_when_nothing_waits():
    where = space("mini", "head")
    watched = Watched(most_waiting=3)
    assert len(watched.batches.run(order(where, images(16, 5), delta(where, 0))).logits) == 5
    watched.batches.close()


def test_an_incomplete_batch_waits_for_more_images(threads):
    where = space("mini", "head")
    each, watched = delta(where, 0), Watched(most_images=2, wait_seconds=SECONDS)
    one = threads.submit(watched.batches.run, order(where, images(16, 1), each))
    wait_for(lambda: watched.batches.waiting == 1)
    two = threads.submit(watched.batches.run, order(where, images(16, 1), each))
    assert rows(one).shape == rows(two).shape == (1, len(each.labels))
    assert watched.seen == [("head", [1, 1])]
    watched.batches.close()


def test_turns_and_batches_alternate(watched, threads):
    where, events = space("mini", "head"), []
    each, stop = delta(where, 0), threading.Event()

    def turn() -> None:
        while not stop.is_set():
            with watched.batches.turn:
                events.append("turn")
                sleep(0.001)

    turning = threads.submit(turn)
    wait_for(lambda: events)
    for _ in range(5):  # would never end if turns came before all batches
        watched.batches.run(order(where, images(16, 1), each))
    before = len(events)
    many = threads.submit(watched.batches.run, order(where, images(16, 200), each))
    rows(many)
    assert len(events) > before  # and turns came between its batches
    stop.set()
    turning.result(SECONDS)


def test_a_turn_waits_no_longer_for_what_nobody_wants_any_more(threads):
    where, watched = space("mini", "head"), Watched(most_images=2, wait_seconds=0.2)
    with watched.batches.turn:
        pass  # so that a batch is next
    gone = order(where, images(16, 1), None, is_wanted=lambda: False)
    watched.batches.enqueue(gone)
    turning = threads.submit(watched.batches.begin_turn)
    try:
        turning.result(5)
    finally:
        watched.batches.close()
    assert isinstance(gone.done.exception(), CancelledError)


def test_the_end_refuses_what_waits_and_what_comes(threads):
    where = space("mini", "head")
    each, watched = delta(where, 0), Watched()
    watched.batches.begin_turn()
    waiting = threads.submit(watched.batches.run, order(where, images(16, 1), each))
    wait_for(lambda: watched.batches.waiting == 1)
    closing = threads.submit(watched.batches.close)
    with pytest.raises(NotReady, match="the service is stopping"):
        waiting.result(SECONDS)
    watched.batches.end_turn()
    closing.result(SECONDS)
    with pytest.raises(NotReady, match="the service is stopping"):
        watched.batches.run(order(where, images(16, 1), each))
