"""Faster passes in the service: for mixed batches alone, made in the background, forgotten."""

import json
from threading import Event

import pytest
import torch

import tangent
from app.inference.engine.batches import Batches
from app.inference.engine.faster_passes import FasterPasses
from app.inference.engine.orders import Order, answers_of
from app.settings.environment import environment_of_engine
from tangent.jvp.compiled.passes import ALONE, COMPILED, Passes
from tangent.jvp.compiled.recorder import PlainCalls
from tangent.spaces.twin import Twin
from tests.support.images import image
from tests.support.models import backbone, images
from tests.support.problems import problem
from tests.support.random_components import delta
from tests.support.service import Service

SECONDS = 30


class Making:
    """Passes that note what is done to them, of which some can be made."""

    def __init__(self, steps: int) -> None:
        self.left, self.forgotten = steps, 0
        self.asked: list[str] = []
        self.faults: list[str] = []
        self.done = Event()

    def run(self, given, prepared, part):
        self.asked.append(f"{part} of {len(given)}")

    def make_next(self, turn) -> bool:
        with turn:
            self.left -= 1
        if self.left == 0:
            self.faults.append("batches of 2 along 1 directions were not recorded: no")
        if self.left < 0:
            self.done.set()
        return self.left >= 0

    def forget(self) -> None:
        self.forgotten += 1


class Watched:
    """A space with such passes."""

    def __init__(self, passes: Making | None) -> None:
        self.passes = passes


@pytest.fixture
def faster():
    found = FasterPasses()
    yield found
    found.close()


def test_passes_are_made_once_something_was_asked_for(faster, caplog):
    one = Watched(Making(3))
    assert faster.watch(one, ALONE) is one
    assert not one.passes.done.wait(0.05)
    assert one.passes.left == 3
    faster.wake()
    assert one.passes.done.wait(SECONDS)
    faster.close()
    assert caplog.messages == [
        "batches of 2 along 1 directions were not recorded: no; the engine answers them as before"
    ]


def test_where_no_space_has_passes_there_is_no_thread(faster):
    faster.watch(Watched(None), ALONE)
    faster.wake()
    assert faster._thread is None


def test_the_passes_of_every_space_forget(faster):
    spaces = [Watched(Making(0)) for _ in range(2)]
    for each in spaces:
        faster.watch(each, ALONE)
    faster.forget()
    assert [each.passes.forgotten for each in spaces] == [1, 1]


@pytest.mark.parametrize("company", ["mixed", "each", "alone", "together"])
def test_only_mixed_batches_go_through_faster_passes(company):
    where = tangent.Space(backbone("mini"), "last-block")
    where.passes = passes = Making(0)
    batches = Batches()
    try:
        batches.run(Order(where, list(images(16, 3)), delta(where, 0), company, lambda: True))
    finally:
        batches.close()
    assert passes.asked == (["answer of 3"] if company == "mixed" else [])


def test_a_batch_of_several_compositions_asks_for_what_they_share_and_for_each_ones_rest():
    where = tangent.Space(backbone("mini"), "last-block")
    where.passes = passes = Making(0)
    orders = [
        Order(where, list(images(16, count)), delta(where, count), "mixed", lambda: True)
        for count in (1, 3)
    ]
    answers_of([(order, order.images) for order in orders])
    assert passes.asked == ["rows of 4", "push of 1", "push of 3"]


def opened(service: Service) -> tangent.Space:
    """The default space, which other tests have too."""
    [where] = service.state.engine._spaces._spaces.values()
    return where


def test_deterministic_answers_keep_their_bytes_while_passes_are_made(service, monkeypatch):
    service.component({"cat": 2})
    fields = {"deterministic": "true", "return": "logits"}

    def asked(**given: str) -> str:
        files = [("images", (str(i), image("cat", i))) for i in range(2)]
        answer = service.client.post("/v1/predictions", files=files, data=given)
        assert answer.status_code == 200, answer.text
        return json.dumps(answer.json()["results"])

    before, where = asked(**fields), opened(service)
    passes = Passes(lambda: Twin(where), PlainCalls(), (COMPILED,), lambda graph: graph)
    monkeypatch.setattr(where, "passes", passes)
    for _ in range(3):
        asked()
    while passes.make_next():
        pass
    assert set(passes.made.values()) == {COMPILED}, passes.faults
    asked()
    assert asked(**fields) == before


def test_a_deletion_leaves_nothing_in_the_passes(service, monkeypatch):
    made = service.component({"cat": 2})
    files = [("images", ("0", image("cat", 0)))]
    assert service.client.post("/v1/predictions", files=files).status_code == 200
    where, passes = opened(service), Making(0)
    monkeypatch.setattr(where, "passes", passes)
    service.state.engine._passes.watch(where, ALONE)
    assert service.client.delete(f"/v1/components/{made}").is_success
    assert passes.forgotten


def test_a_device_without_memory_for_a_request_is_told_and_the_next_one_is_answered(
    service: Service, monkeypatch: pytest.MonkeyPatch
):
    service.component({"cat": 2})
    files = [("images", ("0", image("cat", 0)))]

    def predict():
        return service.client.post("/v1/predictions", files=files)

    assert predict().status_code == 200
    where = opened(service)

    def full(x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patched:
        patched.setattr(where, "readout", full)
        answer = predict()
    assert "send fewer images at a time" in problem(answer, 503, "out_of_memory")["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    assert predict().status_code == 200


def test_an_engines_process_keeps_compiled_passes_in_the_data_folder(monkeypatch, tmp_path):
    name = "TORCHINDUCTOR_CACHE_DIR"
    monkeypatch.delenv(name, raising=False)
    assert environment_of_engine(tmp_path)[name] == str(tmp_path)
    monkeypatch.setenv(name, "/elsewhere")
    assert environment_of_engine(tmp_path)[name] == "/elsewhere"
