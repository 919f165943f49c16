"""Small images of many requests are decoded together, and none is another's trouble."""

from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event, Semaphore

import numpy as np
import pytest
from PIL import Image

from app.errors import NotReady
from app.images.budget import Budget
from app.images.decoder import Decoder
from app.images.image_files import BadImage, decode
from app.images.shared_orders import ORDERS, SharedOrders
from app.images.shares import Shares
from tangent.backbones.geometry import Geometry
from tests.support.archives import noise
from tests.support.costly_images import jpeg_of_scans
from tests.support.decoding import Limits

SECONDS = 60
# Both take many times longer than a light image may, also on a faster machine than today's.
HEAVY = jpeg_of_scans(1000, 1000, 20_000)
SMALLER_HEAVY = jpeg_of_scans(1000, 1000, 6_000)  # three of them fit into one order
GEOMETRY = Geometry("shorter", (9, 9), Image.Resampling.BICUBIC, (8, 8))
LARGER = Geometry("shorter", (18, 18), Image.Resampling.BICUBIC, (16, 16))


class Stage:
    """Shared orders whose work waits for `go`; `orders` has the number of images in each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoder, self.go, self.orders = Decoder(Limits()), Event(), []
        self.begun = Semaphore(0)  # orders, those that wait for `go` too
        self.shares = Shares()
        self.shares.of("known").note(is_heavy=False)
        together = Decoder.pixels_together

        def held(decoder, files, *given, **named):
            self.begun.release()
            assert self.go.wait(SECONDS)
            self.orders.append(len(files))
            return together(decoder, files, *given, **named)

        monkeypatch.setattr(Decoder, "pixels_together", held)
        self.shared = SharedOrders(self.decoder)

    def budget(self, client: str = "known") -> Budget:
        return Budget(6.0, share=self.shares.of(client))

    def ask(self, file: bytes, geometry: Geometry = GEOMETRY, budget=None) -> "Future":
        return self.shared.pixels(file, geometry, budget or self.budget())


@pytest.fixture
def stage(monkeypatch) -> Iterator[Stage]:
    found = Stage(monkeypatch)
    yield found
    found.go.set()
    found.shared.close()
    found.decoder.close()


def made_here(file: bytes, geometry: Geometry) -> np.ndarray:
    return np.asarray(geometry.apply(decode(file, Limits())))


def test_images_that_wait_go_together_and_each_has_its_own_pixels(stage):
    files = [noise(number, size=5 + number) for number in range(20)]
    asked = [stage.ask(file) for file in files]
    stage.go.set()
    for file, found in zip(files, asked, strict=True):
        np.testing.assert_array_equal(found.result(SECONDS), made_here(file, GEOMETRY))
    assert len(stage.orders) <= ORDERS + 1
    assert sum(stage.orders) == len(files)


def test_images_of_several_geometries_do_not_share_an_order(stage):
    files = [noise(number) for number in range(8)]
    kinds = [GEOMETRY, LARGER] * 4
    asked = [stage.ask(file, kind) for file, kind in zip(files, kinds, strict=True)]
    stage.go.set()
    for file, kind, found in zip(files, kinds, asked, strict=True):
        np.testing.assert_array_equal(found.result(SECONDS), made_here(file, kind))
    assert stage.orders == [1] * 8


def test_a_bad_image_or_one_that_kills_its_worker_is_its_own_fault_alone(stage):
    good = [noise(number) for number in range(6)]
    for name in "abcdefgh":
        stage.shares.of(name).note(is_heavy=False)
    budgets = [stage.budget(name) for name in "abcdefgh"]
    files = [*good[:3], b"no image", HEAVY, *good[3:]]
    asked = [stage.ask(*each) for each in zip(files, [GEOMETRY] * 8, budgets, strict=True)]
    stage.go.set()
    found = [each.result(SECONDS) for each in asked]
    for file, pixels in zip(good, found[:3] + found[5:], strict=True):
        np.testing.assert_array_equal(pixels, made_here(file, GEOMETRY))
    assert all(isinstance(each, BadImage) for each in found[3:5])
    assert all(budget.spent > 0 for budget in budgets)
    assert budgets[0].spent < budgets[4].spent


def test_an_image_of_a_client_that_has_left_is_not_decoded(stage):
    first = []
    for number in range(ORDERS):
        first.append(stage.ask(noise(number)))
        assert stage.begun.acquire(timeout=SECONDS)
    left, kept = stage.ask(noise(8)), stage.ask(noise(9))
    assert left.cancel()
    stage.go.set()
    assert kept.result(SECONDS).shape == (8, 8, 3)
    assert [each.result(SECONDS).shape for each in first] == [(8, 8, 3)] * ORDERS
    assert sum(stage.orders) == ORDERS + 1


def test_images_that_an_order_leaves_out_are_in_the_next_one(stage, monkeypatch):
    together = Decoder.pixels_together

    def few(decoder, files, geometry, budgets, **named):
        return together(decoder, files[:2], geometry, budgets, **named)

    monkeypatch.setattr(Decoder, "pixels_together", few)
    stage.go.set()
    files = [noise(number) for number in range(9)]
    for file, found in zip(files, [stage.ask(file) for file in files], strict=True):
        np.testing.assert_array_equal(found.result(SECONDS), made_here(file, GEOMETRY))


def test_at_the_end_of_the_service_those_that_wait_are_told(stage, monkeypatch):
    def stopped(*given, **named):
        raise NotReady("service_stopping", "the service is stopping: send the request again")

    monkeypatch.setattr(Decoder, "pixels_together", stopped)
    with pytest.raises(NotReady, match="the service is stopping"):
        stage.ask(noise(1)).result(SECONDS)


def test_images_of_clients_that_sent_heavy_ones_go_apart_one_order_at_a_time(stage):
    stage.shares.of("hostile").note(is_heavy=True)
    first = []
    for number in range(ORDERS):
        first.append(stage.ask(noise(number)))
        assert stage.begun.acquire(timeout=SECONDS)
    costly = [stage.ask(noise(10 + number), budget=stage.budget("hostile")) for number in range(3)]
    light = [stage.ask(noise(20 + number)) for number in range(3)]
    stage.go.set()
    for found in (*first, *costly, *light):
        assert found.result(SECONDS).shape == (8, 8, 3)
    assert sorted(stage.orders) == [1, 1, 1, 1, 1, 3], "light ones share an order, costly ones none"


def test_no_light_image_waits_behind_heavy_ones_that_wait_for_their_turn(stage, monkeypatch):
    heavy, may_end = [], Event()

    def waits(decoder, file, geometry, budget):
        heavy.append(file)
        assert may_end.wait(SECONDS)
        return BadImage("heavy", 0)

    monkeypatch.setattr(Decoder, "heavy_pixels", waits)
    asked = [stage.ask(HEAVY, budget=stage.budget("hostile")) for _ in range(3)]
    good = stage.ask(noise(1))
    stage.go.set()
    assert good.result(SECONDS).shape == (8, 8, 3)
    assert not any(each.done() for each in asked)
    later = [stage.ask(noise(2 + number)) for number in range(4)]
    assert all(each.result(SECONDS).shape == (8, 8, 3) for each in later)
    may_end.set()
    assert all(isinstance(each.result(SECONDS), BadImage) for each in asked)
    assert len(heavy) == 3
    assert stage.shares.of("hostile").is_costly


def test_of_a_new_client_one_image_is_tried_and_then_the_others_go_together(stage):
    asked = [stage.ask(noise(number), budget=stage.budget("new")) for number in range(9)]
    assert stage.begun.acquire(timeout=SECONDS)
    stage.go.set()
    assert all(each.result(SECONDS).shape == (8, 8, 3) for each in asked)
    assert stage.orders[0] == 1
    assert sum(stage.orders) == 9 and len(stage.orders) <= 1 + ORDERS


def test_a_flood_of_a_new_client_ends_no_worker_that_has_images_of_others(stage, monkeypatch):
    monkeypatch.setattr(Decoder, "heavy_pixels", lambda *given: BadImage("heavy", 0))
    stage.go.set()
    stage.ask(noise(1)).result(SECONDS)
    (worker,) = stage.decoder._idle[False]
    asked = [stage.ask(HEAVY, budget=stage.budget("hostile")) for _ in range(20)]
    good = [stage.ask(noise(2 + number)) for number in range(20)]
    assert all(each.result(SECONDS).shape == (8, 8, 3) for each in good)
    assert all(isinstance(each.result(SECONDS), BadImage) for each in asked)
    assert not worker.has_ended()
    assert worker in stage.decoder._idle[False]


def test_a_known_client_that_turns_hostile_takes_nobody_along_twice(stage, monkeypatch):
    monkeypatch.setattr(Decoder, "heavy_pixels", lambda *given: BadImage("heavy", 0))
    stage.shares.of("turned").note(is_heavy=False)
    first = []
    for number in range(ORDERS):
        first.append(stage.ask(noise(number)))
        assert stage.begun.acquire(timeout=SECONDS)
    asked = [
        (stage.ask(noise(10 + number)), stage.ask(SMALLER_HEAVY, budget=stage.budget("turned")))
        for number in range(3)
    ]
    stage.go.set()
    assert all(each.result(SECONDS).shape == (8, 8, 3) for each in first)
    for good, heavy in asked:
        assert good.result(SECONDS).shape == (8, 8, 3)
        assert isinstance(heavy.result(SECONDS), BadImage)
    assert sorted(stage.orders, reverse=True)[0] == 6
    assert 1 + sum(size > 1 for size in stage.orders) <= 3, "the others go together again"


@pytest.mark.parametrize("client", ["known", "new"])
def test_a_heavy_image_that_comes_alone_is_tried_as_a_light_one_once(stage, monkeypatch, client):
    monkeypatch.setattr(Decoder, "heavy_pixels", lambda *given: BadImage("heavy", 0))
    stage.go.set()
    assert isinstance(stage.ask(HEAVY, budget=stage.budget(client)).result(SECONDS), BadImage)
    assert stage.orders == [1]
