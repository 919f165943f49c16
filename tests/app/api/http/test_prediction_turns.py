"""Turns of predictions: the client whose images took least lately comes next."""

import asyncio

import pytest
from fastapi import Response

from app.api.http.thread_pools import PredictionTurns
from app.errors import TooManyRequests
from app.images.shares import Share, Shares
from app.inference.deletion_gate import Gate, Ticket

WAITING = 3


class Queued:
    """Predictions that take their turns one after the other, by clients' shares."""

    def __init__(self, waiting: int) -> None:
        self.turns, self.shares, self.done = PredictionTurns(1, waiting), Shares(), []
        self.go, self.waited = asyncio.Event(), []

    def ask(self, client: str) -> "asyncio.Task[Response]":
        async def make(waited: float) -> Response:
            self.waited.append(waited)
            await self.go.wait()
            self.done.append(client)
            return Response(client)

        return asyncio.create_task(self.turns.run(Ticket(Gate()), self.shares.of(client), make))


def test_the_client_whose_images_took_least_has_the_next_turn():
    async def ask() -> list[str]:
        queued = Queued(WAITING)
        queued.shares.of("hostile").spend(9.0)
        asked = []
        for client in ("hostile", "hostile", "modest", "hostile"):
            asked.append(queued.ask(client))
            await asyncio.sleep(0)
        queued.go.set()
        await asyncio.gather(*asked)
        return queued.done

    assert asyncio.run(ask()) == ["hostile", "modest", "hostile", "hostile"]


def test_a_prediction_learns_for_how_long_it_has_waited():
    async def ask() -> list[float]:
        queued = Queued(WAITING)
        asked = [queued.ask(client) for client in ("one", "two")]
        await asyncio.sleep(0.1)
        queued.go.set()
        await asyncio.gather(*asked)
        return queued.waited

    first, second = asyncio.run(ask())
    assert first == 0
    assert second >= 0.05


def test_of_too_many_the_client_whose_images_took_most_is_refused():
    async def ask() -> list[str]:
        queued = Queued(2)
        queued.shares.of("hostile").spend(9.0)
        asked = []
        for client in ("hostile", "hostile", "hostile", "modest"):
            asked.append(queued.ask(client))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests, match="the most are 2"):
            await asked[2]
        queued.go.set()
        await asyncio.gather(*asked[:2], asked[3])
        return queued.done

    assert asyncio.run(ask()) == ["hostile", "modest", "hostile"]


@pytest.mark.parametrize("has_its_turn", [True, False])
def test_one_who_leaves_gets_no_turn_and_takes_none_along(has_its_turn):
    async def ask() -> list[str]:
        queued = Queued(WAITING)
        queued.go.set()
        await queued.turns._take_turn(Share())
        second, third = queued.ask("second"), queued.ask("third")
        await asyncio.sleep(0)
        steps = [queued.turns._give_turn, second.cancel]
        for step in steps if has_its_turn else reversed(steps):
            step()
        with pytest.raises(asyncio.CancelledError):
            await second
        await third
        assert queued.turns.waiting == 0
        await queued.ask("fourth")
        return queued.done

    assert asyncio.run(ask()) == ["third", "fourth"]
