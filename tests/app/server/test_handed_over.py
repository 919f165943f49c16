"""Results that a thread has at a time are handed over together, and hold up nobody for long."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Thread

import pytest

from app.server import event_loop
from app.server.event_loop import handed_over_together, settled


def test_others_have_their_turn_between_many_results(monkeypatch):
    monkeypatch.setattr(event_loop, "MAX_DELIVERED", 3)
    futures: list[Future[int]] = [Future() for _ in range(10)]
    seen: list[str] = []

    async def note(future: "Future[int]") -> None:
        await settled(future)
        seen.append("result")

    async def wait() -> None:
        waiting = [asyncio.create_task(note(each)) for each in futures]
        await asyncio.sleep(0)
        thread = Thread(target=lambda: [each.set_result(0) for each in futures])
        thread.start()
        thread.join()  # all are due in one turn
        while not all(each.done() for each in waiting):
            await asyncio.sleep(0)
            seen.append("turn")

    asyncio.run(wait())
    text = "".join(each[0] for each in seen)
    assert text.count("r") == 10
    assert max(map(len, text.split("t"))) <= 3


def test_what_a_thread_sets_in_one_block_is_handed_over_at_its_end():
    futures: list[Future[int]] = [Future() for _ in range(4)]
    inside, may_end = Event(), Event()
    seen: list[int] = []

    def work() -> None:
        with handed_over_together():
            with handed_over_together():  # a block in a block ends with the outer one
                futures[0].set_result(0)
            for number in (1, 2):
                futures[number].set_result(number)
            inside.set()
            assert may_end.wait(10)
        futures[3].set_result(3)  # alone, as before the block

    async def note(future: "Future[int]") -> None:
        seen.append(await settled(future))

    async def wait() -> None:
        waiting = [asyncio.create_task(note(future)) for future in futures]
        await asyncio.sleep(0)
        thread = Thread(target=work)
        thread.start()
        assert await asyncio.to_thread(inside.wait, 10)
        assert seen == []
        may_end.set()
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        thread.join()

    asyncio.run(wait())
    assert sorted(seen) == [0, 1, 2, 3]


def test_a_block_that_fails_hands_over_what_was_set_in_it():
    future: Future[str] = Future()

    def fail() -> None:
        with handed_over_together():
            future.set_result("set")
            raise ValueError("the block failed")

    async def wait() -> str:
        waiting = asyncio.create_task(settled(future))
        await asyncio.sleep(0)
        Thread(target=lambda: suppressed(fail)).start()
        return await asyncio.wait_for(waiting, 10)

    def suppressed(call: Callable[[], None]) -> None:
        with pytest.raises(ValueError, match="the block failed"):
            call()

    assert asyncio.run(wait()) == "set"
