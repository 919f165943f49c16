"""Threads and the event loop hand over many things at a time, and lose none."""

import asyncio
import gc
import socket
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing
from threading import Thread
from weakref import ReferenceType, ref

import pytest

from app.server import event_loop
from app.server.event_loop import MAX_DELIVERED, AfterTurn, OncePerTurn, settled


def test_a_function_is_called_once_after_all_of_a_turn():
    calls: list[str] = []
    after = AfterTurn(lambda: calls.append("called"))

    async def ask_thrice() -> None:
        for _ in range(3):
            after()
            calls.append("asked")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        after()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(ask_thrice())
    assert calls == ["asked", "asked", "asked", "called", "called"]


def test_a_thread_without_a_loop_calls_at_once():
    calls: list[int] = []
    AfterTurn(lambda: calls.append(1))()
    assert calls == [1]


def test_a_loop_that_was_closed_before_its_next_turn_holds_nothing_up():
    calls: list[int] = []
    after = AfterTurn(lambda: calls.append(1))

    async def ask() -> None:
        after()

    closed = asyncio.new_event_loop()
    closed.call_soon(after)
    closed.call_soon(closed.stop)
    closed.run_forever()
    closed.close()
    asyncio.run(ask())
    assert calls, "the second loop has called"


def test_results_of_many_threads_all_reach_their_coroutines():
    async def gathered(pool: ThreadPoolExecutor) -> list[int]:
        return await asyncio.gather(*(settled(pool.submit(pow, n, 2)) for n in range(2000)))

    with ThreadPoolExecutor(8) as pool:
        assert asyncio.run(gathered(pool)) == [n * n for n in range(2000)]


def test_the_loop_is_called_once_for_what_came_in_one_turn():
    futures: list[Future[int]] = [Future() for _ in range(MAX_DELIVERED)]
    called = 0

    async def wait() -> list[int]:
        nonlocal called
        loop = asyncio.get_running_loop()
        original = loop.call_soon_threadsafe

        def counted(*arguments, **options):
            nonlocal called
            called += 1
            return original(*arguments, **options)

        loop.call_soon_threadsafe = counted
        waiting = asyncio.gather(*(settled(each) for each in futures))
        await asyncio.sleep(0)
        thread = Thread(target=lambda: [each.set_result(n) for n, each in enumerate(futures)])
        thread.start()
        thread.join()  # the loop takes no turn meanwhile
        return await waiting

    assert asyncio.run(wait()) == list(range(MAX_DELIVERED))
    assert called == 1


def test_an_error_is_raised_where_it_is_waited_for():
    async def fail(pool: ThreadPoolExecutor) -> None:
        await settled(pool.submit(int, "x"))

    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="'x'"):
        asyncio.run(fail(pool))


def test_a_coroutine_that_is_cancelled_cancels_what_has_not_begun():
    future: Future[None] = Future()

    async def leave() -> None:
        waiting = asyncio.create_task(settled(future))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(leave())
    with pytest.raises(CancelledError):
        future.result(0)


@pytest.mark.parametrize("is_begun", [False, True], ids=["before", "during the wait"])
def test_a_future_that_others_cancel_is_a_cancellation_of_asyncio(is_begun: bool):
    future: Future[None] = Future()

    async def wait() -> None:
        if is_begun:
            asyncio.get_running_loop().call_soon(future.cancel)
        else:
            future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settled(future)

    asyncio.run(wait())


def test_a_wait_that_takes_too_long_ends_and_cancels_what_has_not_begun(monkeypatch):
    monkeypatch.setattr(event_loop, "LOOK_SECONDS", 0.01)
    late, in_time, patient = (Future[str]() for _ in range(3))

    async def wait() -> str:
        loop = asyncio.get_running_loop()
        others = asyncio.gather(settled(in_time, within=30.0), settled(patient))
        loop.call_later(0.01, in_time.set_result, "in time")
        with pytest.raises(TimeoutError):
            await settled(late, within=0.02)
        loop.call_soon(patient.set_result, "after it")
        return ", ".join(await others)

    assert asyncio.run(wait()) == "in time, after it"
    assert late.cancelled()


def test_no_timer_is_left_of_waits_that_have_ended(monkeypatch):
    monkeypatch.setattr(event_loop, "LOOK_SECONDS", 0.01)

    async def wait(pool: ThreadPoolExecutor) -> int:
        for n in range(50):
            await settled(pool.submit(pow, n, 2), within=30.0)
        await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        return len([each for each in loop._scheduled if not each.cancelled()])

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(wait(pool)) <= 1  # the first look, which was to come after 0.01 s


def test_a_loop_that_has_ended_is_kept_by_nothing():
    async def wait(pool: ThreadPoolExecutor) -> ReferenceType[asyncio.AbstractEventLoop]:
        waiting: Future[None] = Future()
        pool.submit(waiting.set_result, None)
        await settled(waiting)
        never: Future[None] = Future()
        task = asyncio.create_task(settled(never))
        await asyncio.sleep(0)
        task.cancel()
        return ref(asyncio.get_running_loop())

    with ThreadPoolExecutor(1) as pool:
        loop = asyncio.run(wait(pool))
    gc.collect()
    assert loop() is None


def test_a_function_is_called_once_in_a_turn_and_anew_in_the_next():
    calls: list[int] = []
    looked = OncePerTurn(lambda: calls.append(1) or len(calls))

    async def look() -> list[int]:
        found = [looked(), looked()]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [*found, looked(), looked()]

    assert asyncio.run(look()) == [1, 1, 2, 2]


def test_a_request_is_told_nothing_older_than_itself():
    changed, has_left = 0, asyncio.Event()
    looked = OncePerTurn(lambda: changed)

    async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1):
            writer.write(bytes([looked()]))
        writer.close()
        await writer.wait_closed()
        has_left.set()

    async def ask() -> None:
        nonlocal changed
        server = await asyncio.start_server(told, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.to_thread(change_and_ask, port)
            await has_left.wait()

    def change_and_ask(port: int) -> None:
        nonlocal changed
        with closing(socket.create_connection(("127.0.0.1", port))) as client:
            for number in range(200):
                changed = number
                client.sendall(b"?")
                assert client.recv(1)[0] == number

    asyncio.run(ask())


def test_in_a_thread_a_function_is_called_each_time():
    calls: list[int] = []
    looked = OncePerTurn(lambda: calls.append(1) or len(calls))
    assert [looked(), looked()] == [1, 2]


def test_a_function_that_fails_is_called_again():
    calls: list[int] = []

    def look() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("away")
        return 7

    async def look_twice() -> int:
        looked = OncePerTurn(look)
        with pytest.raises(OSError, match="away"):
            looked()
        return looked()

    assert asyncio.run(look_twice()) == 7
