"""Faster passes: the answers are the engine's, none waits for one, and a failure costs nothing."""

from threading import Event, Lock, Thread

import pytest
import torch

import tangent
from tangent import errors
from tangent.jvp.compiled import passes as made_passes
from tangent.jvp.compiled.passes import COMPILED, RECORDED, Passes, Shape
from tangent.jvp.compiled.recorder import CudaGraphs, PlainCalls
from tangent.jvp.compiled.recording import ANSWER
from tangent.spaces.twin import Twin
from tests.support.models import backbone, images, relative, state_hash
from tests.support.random_components import delta
from tests.support.recorders import faster, made

SCOPES = ("head", "head2toe", "last-block", "last-2-blocks", "all")
NAMES = ("vit", "vit_average", "resnet_basic")


@pytest.mark.parametrize("steps", [(RECORDED,), (COMPILED,), (RECORDED, COMPILED)])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_made_pass_answers_as_the_engine_does(name, scope, steps):
    where, recorder = faster(name, scope, steps=steps)
    x, some = images(where.image_size, 5), [delta(where, 0), delta(where, 1, ("bee", "cat"))]
    expected = [where.logits(x, each, exact=True) for each in some]
    shape = Shape(6, 0 if where.engine is None else 1)
    assert made(where, x, some[0]) == {shape: steps[-1]}, where.passes.faults
    before = recorder.replays
    for each, own in zip([*some, *some], [*expected, *expected], strict=True):
        assert relative(where.logits(x, each), own) <= 1e-6
    assert recorder.replays == before + 4
    where.logits(x[:4], some[1])  # a batch of another size has no pass yet
    assert recorder.replays == before + 4


@pytest.mark.parametrize("scope", ["last-block", "all"])
def test_several_directions_go_through_one_pass(scope):
    where, recorder = faster("vit", scope)
    x, some = images(16, 3), [delta(where, seed) for seed in range(3)]
    expected = where.logits_of_each(x, some, exact=True)
    assert made(where, x, *some) == {Shape(4, 3): RECORDED}
    before = recorder.replays
    for found, own in zip(where.logits_of_each(x, some[::-1]), expected[::-1], strict=True):
        assert relative(found, own) <= 1e-6
    assert recorder.replays == before + 1


def test_images_with_one_delta_of_their_own_go_through_a_pass():
    where, recorder = faster()
    x, some = images(16, 3), [delta(where, 0), delta(where, 1)]
    expected = where.answers_of_own(x, some, [1, 1, 1], exact=True)
    made(where, x, some[0])
    before = recorder.replays
    found = where.answers_of_own(x, some, [1, 1, 1])
    assert recorder.replays == before + 1
    for (logits, psi), (own, own_psi) in zip(found, expected, strict=True):
        assert relative(logits, own) <= 1e-6
        assert relative(psi, own_psi) <= 1e-12


def test_an_answer_is_not_overwritten_by_the_next_one():
    where, _ = faster()
    x, some = images(16, 3), delta(where, 0)
    made(where, x, some)
    kept = where.passes.run(x, [where._head(some).prepared])
    before = [each.clone() for each in kept]
    where.logits(images(16, 3, seed=1), some)
    assert all(map(torch.equal, kept, before))


def test_exact_answers_have_the_same_bytes_before_and_after_a_pass_is_made():
    where, recorder = faster(dtype=torch.float32)
    x, some = images(16, 3).float(), delta(where, 0)
    before = where.logits(x, some)
    assert made(where, x, some)
    replays = recorder.replays
    assert torch.equal(where.logits(x, some, exact=True), before)
    own = where.answers_of_own(x, [some], [0, 0, 0], exact=True)
    assert torch.equal(torch.stack([row for row, _ in own]), before)
    assert recorder.replays == replays


def test_no_answer_makes_a_pass():
    where, recorder = faster()
    for _ in range(3):
        where.logits(images(16, 2), delta(where, 0))
    assert recorder.captures == 0
    assert where.passes.made == {}


def test_what_was_asked_for_once_is_not_made():
    where, _ = faster()
    where.logits(images(16, 2), delta(where, 0))
    assert not where.passes.make_next()


def test_a_capture_that_fails_leaves_the_engine_and_says_why():
    where, recorder = faster()
    recorder.failing = RuntimeError("operation not permitted when stream is capturing\nmore")
    x, some = images(16, 2), delta(where, 0)
    assert made(where, x, some) == {}
    assert where.passes.faults == [
        "batches of 2 along 1 directions were not recorded: RuntimeError: operation not permitted "
        "when stream is capturing"
    ]
    assert torch.equal(where.logits(x, some), where.logits(x, some, exact=True))
    assert not where.passes.make_next()  # it is not tried for ever


def test_a_compilation_that_fails_leaves_the_recorded_pass():
    def failing(graph):
        raise NotImplementedError("no kernel for this")

    where, _ = faster(steps=(RECORDED, COMPILED), compiler=failing)
    assert made(where, images(16, 2), delta(where, 0)) == {Shape(2, 1): RECORDED}
    assert where.passes.faults == [
        "batches of 2 along 1 directions were not compiled: NotImplementedError: no kernel for this"
    ]


def test_a_pass_that_disagrees_with_the_engine_is_not_used():
    def wrong(graph):
        def run(*given):
            psi, along = graph(*given)
            return [psi, along * (1 + 1e-6)]

        return run

    where, _ = faster(steps=(COMPILED,), compiler=wrong)
    x, some = images(16, 2), delta(where, 0)
    assert made(where, x, some) == {}
    [fault] = where.passes.faults
    assert "not compiled: Disagreement: output 1 differs from the engine's by 1.0e-06" in fault
    assert torch.equal(where.logits(x, some), where.logits(x, some, exact=True))


def test_there_are_no_more_passes_than_the_bound_and_the_unused_ones_go(monkeypatch):
    monkeypatch.setattr(made_passes, "MAX_PASSES", 2)
    where, _ = faster()
    some = delta(where, 0)
    for count in (1, 2):
        made(where, images(16, count), some)
    where.logits(images(16, 1), some)
    assert made(where, images(16, 3), some).keys() == {Shape(1, 1), Shape(4, 1)}


def test_with_little_free_memory_no_further_pass_is_made():
    where, recorder = faster()
    recorder.free = 0.1
    x, some = images(16, 2), delta(where, 0)
    assert made(where, x, some) == {}
    assert where.passes.faults == ["no further pass is made: less than 15% of the memory is free"]
    recorder.free = 0.5
    assert made(where, x, some)
    assert where.passes.faults == []


def test_nothing_of_an_answer_is_left_in_a_pass_that_forgot():
    where, _ = faster()
    x, some = images(16, 3), delta(where, 0)
    made(where, x, some)
    expected = where.logits(x, some)
    [found] = where.passes._made.values()
    memory = [found.recording._images, *found.recording._directions.tensors]
    assert any(each.any() for each in memory)
    where.passes.forget()
    assert not any(each.any() for each in memory)
    assert torch.equal(where.logits(x, some), expected)


def test_a_new_pass_holds_nothing():
    where, _ = faster()
    made(where, images(16, 3), delta(where, 0))
    [found] = where.passes._made.values()
    assert not any(each.any() for each in found.recording._directions.tensors)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_twin_shares_the_tensors_and_changes_nothing(scope):
    where = tangent.Space(backbone("resnet_basic"), scope)
    before = state_hash(where.model)
    twin = Twin(where)
    pairs = zip(twin._space.model.parameters(), where.model.parameters(), strict=True)
    assert all(own is given for own, given in pairs)
    assert twin._space.model is not where.model
    x = images(where.image_size, 2)
    some = [] if where.engine is None else [where._head(delta(where, 0)).prepared]
    held = twin.directions(len(some))
    for place, each in enumerate(some):
        held.fill(place, each)
    psi, *pushed = twin.passed(x, held.prepared(held.tensors), ANSWER)
    expected, along = where.push(where.rows(x), some)
    assert torch.equal(psi, expected)
    assert all(map(torch.equal, pushed, along))
    assert state_hash(where.model) == before


def test_answers_go_on_while_another_thread_makes_passes():
    where, _ = faster("vit", "last-2-blocks", steps=(COMPILED,))
    turn, ended = Lock(), Event()

    def make() -> None:
        while not ended.is_set():
            where.passes.make_next(turn)

    cases = [
        (x, each, where.logits(x, each, exact=True))
        for x in (images(16, count, seed=count) for count in (1, 2, 3))
        for each in (delta(where, 0), delta(where, 1))
    ]
    thread = Thread(target=make)
    thread.start()
    try:
        for _ in range(200):
            for x, each, expected in cases:
                with turn:
                    found = where.logits(x, each)
                assert relative(found, expected) <= 1e-6
            if set(where.passes.made.values()) == {COMPILED} and len(where.passes.made) == 3:
                break
    finally:
        ended.set()
        thread.join()
    assert set(where.passes.made.values()) == {COMPILED}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its modules
@pytest.mark.parametrize("name", ["mini", "resnet_basic"])
def test_what_torch_compiles_on_a_processor_answers_as_the_engine_does(name):
    where = tangent.Space(backbone(name, torch.float32), "last-block", compile="on")
    x, some = images(where.image_size, 2).float(), delta(where, 0)
    expected = where.logits(x, some, exact=True)
    assert made(where, x, some) == {Shape(2, 1): COMPILED}, where.passes.faults
    assert relative(where.logits(x, some), expected) <= 1e-5
    other = delta(where, 1)
    assert relative(where.logits(x, other), where.logits(x, other, exact=True)) <= 1e-5


def test_a_processor_makes_passes_only_where_they_are_asked_for():
    of = backbone("mini")
    assert tangent.Space(of, "head").passes is None
    assert tangent.Space(of, "head", compile="auto").passes is None
    assert isinstance(tangent.Space(of, "head", compile="on").passes, Passes)


def test_another_word_for_compile_is_refused():
    with pytest.raises(errors.BadParameter, match="compile is 'yes': use auto, on, off"):
        tangent.Space(backbone("mini"), "head", compile="yes")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", NAMES)
def test_on_a_device_recorded_passes_give_the_bits_of_the_engine(name, scope, device):
    where = tangent.Space(backbone(name, torch.float32), scope, device=str(device))
    recorder = CudaGraphs(where.device) if device.type == "cuda" else PlainCalls()
    where.passes = Passes(lambda: Twin(where), recorder, (RECORDED,))
    x, some = images(where.image_size, 4).float(), delta(where, 0)
    assert made(where, x, some), where.passes.faults
    assert torch.equal(where.logits(x, some), where.logits(x, some, exact=True))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", NAMES)
def test_no_pass_waits_for_the_device(name, scope, device):
    where = tangent.Space(backbone(name, torch.float32), scope, device=str(device))
    x = images(where.image_size, 4).float().to(device)
    some = [] if where.engine is None else [where._head(delta(where, 0)).prepared]
    where.push(where.rows(x), some)
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        where.push(where.rows(x), some)
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
