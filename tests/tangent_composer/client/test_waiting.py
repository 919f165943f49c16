"""A wait ends when it was to end, whatever the service does, and its error says what is known."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from tangent_composer import AsyncClient, Client
from tangent_composer.client import errors
from tangent_composer.schemas.components import ComponentOut
from tests.support.answering import BUSY, answering, problem

MINUTE = 60.0
SOON = 15.0  # seconds, on a machine that is busy with other tests
PARTS = (("components", "component"), ("batch_predictions", "batch prediction"))
PARTS += (("evaluations", "evaluation"),)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a service that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("seconds", [0, 1])
@pytest.mark.parametrize(("part", "noun"), PARTS)
def test_a_wait_ends_in_time_where_nothing_answers(silent, part, noun, seconds):
    sentence = f"unknown whether {noun} x_1 is ready after {seconds} s, as .* did not answer"
    for retries in (0, 5) if part == "components" else (5,):
        began = time.monotonic()
        with (
            Client(silent, timeout=MINUTE, retries=retries) as client,
            pytest.raises(errors.NotFinished, match=sentence),
        ):
            getattr(client, part).wait("x_1", timeout=seconds)
        assert 0.9 < time.monotonic() - began < SOON


def test_a_wait_of_the_asynchronous_client_ends_in_time(silent):
    async def wait() -> None:
        async with AsyncClient(silent, timeout=MINUTE) as client:
            await client.components.wait("cmp_1", timeout=1)

    began = time.monotonic()
    with pytest.raises(errors.NotFinished):
        asyncio.run(wait())
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize("busy", [(429, {"Retry-After": "50"}, BUSY), None, problem(502, "x")])
def test_a_wait_goes_not_beyond_its_end_to_ask_again(busy):
    began = time.monotonic()
    with (
        answering(*[busy] * 9) as (url, _),
        Client(url, retries=8) as client,
        pytest.raises(
            errors.NotFinished, match=r"is ready after 0.4 s, as .*: call wait\(\) again"
        ),
    ):
        client.components.wait("cmp_1", timeout=0.4)
    assert 0.3 < time.monotonic() - began < SOON


def component(status: str) -> tuple[int, dict[str, str], object]:
    example = ComponentOut.model_config["json_schema_extra"]["example"]
    return (200, {}, example | {"status": status})


def test_the_last_pause_ends_with_the_wait_and_the_last_look_is_after_it(monkeypatch):
    monkeypatch.setattr("tangent_composer.client.waiting.MIN_SECONDS", MINUTE)
    monkeypatch.setattr("tangent_composer.client.waiting.MAX_SECONDS", MINUTE)
    began = time.monotonic()
    with answering(component("queued"), component("ready")) as (url, seen), Client(url) as client:
        assert client.components.wait("cmp_1", timeout=3).status == "ready"
    assert len(seen) == 2
    assert time.monotonic() - began < SOON


def test_a_refusal_at_the_end_of_a_wait_is_told_as_it_is():
    with (
        answering(problem(404, "component_not_found")) as (url, _),
        Client(url) as client,
        pytest.raises(errors.NotFound, match="so it is"),
    ):
        client.components.wait("cmp_1", timeout=0)
    with (
        answering(None, None) as (url, seen),
        Client(url, retries=1) as client,
        pytest.raises(errors.NoAnswer),
    ):
        client.components.wait("cmp_1", timeout=MINUTE)
    assert len(seen) == 2
