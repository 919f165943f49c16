"""Recorded steps of trainings: the bits of eager steps, which stay where nothing is recorded."""

import gc
import weakref

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import tangent
from tangent.jvp.compiled import recorder as recorders
from tangent.jvp.compiled.replayed import Replayed
from tangent.training import iterative, pooled_problem, pooled_system, whole_system
from tangent.training import room as rooms
from tangent.training.pooled_problem import Client, PooledProblem
from tangent.training.problem import TrainingProblem
from tangent.training.room import Room
from tests.support import shapes_only
from tests.support.devices import space_on
from tests.support.models import backbone, fitted, problem, source, space
from tests.support.recorders import FakeGraphs, Operations

LABELS = list("abcabcabcab")  # 11 images
RECORDERS = (Operations, FakeGraphs)


def training(name: str, scope: str, **how) -> TrainingProblem:
    where = space(name, scope)
    return problem(where, source(where.image_size, LABELS), l2=1e-4, **how)


def solved(of: TrainingProblem, recorder=None) -> list[torch.Tensor]:
    of.recorder = recorder
    return list(iterative.solve(of, 3, lambda *_: None).delta.values())


def equal(found: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    return all(torch.equal(own, other) for own, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize(
    ("name", "scope", "how"),
    [
        ("mini", "head", {}),
        ("mini", "last-block", {}),
        ("mini", "all", {"penalty": "norm"}),
        ("mini", "last-block", {"loss": "cross_entropy"}),
        ("mini", "last-block", {"alpha": 3.0, "penalty": "norm"}),
        ("vit_average", "last-block", {}),
        ("resnet_basic", "last-block", {}),
    ],
)
def test_recorded_steps_of_adam_give_the_bits_of_eager_ones(name, scope, how, recorder):
    of = training(name, scope, solver="adam", epochs=3, batch_size=4, **how)
    expected, one = solved(of), recorder()
    assert equal(solved(of, one), expected)
    assert (one.captures, one.replays) == (1, 5)  # of 3 · (4 + 4 + 3): not the first, nor the last


@pytest.mark.parametrize(("size", "replays"), [(11, 2), (64, 2), (5, 5), (1, 32)])
def test_batches_of_another_size_go_through_the_eager_step(size, replays):
    of = training("mini", "last-block", solver="adam", epochs=3, batch_size=size)
    expected, one = solved(of), Operations()
    assert equal(solved(of, one), expected)
    assert (one.captures, one.replays) == (1, replays)


@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize(
    ("name", "scope", "alpha", "criterion"),
    [
        ("mini", "last-block", 1.0, "gradient"),
        ("mini", "last-block", 1.0, "logits"),
        ("mini", "all", 2.0, "gradient"),
        ("mini", "last-block", 2.0, "logits"),
        ("resnet_basic", "last-block", 1.0, "logits"),
    ],
)
def test_recorded_products_give_the_bits_of_eager_ones(name, scope, alpha, criterion, recorder):
    """With the head eliminated (alpha = 1), and with the head among the unknowns."""
    how = dict(solver="cg", alpha=alpha, tolerance=1e-9, tolerance_of=criterion, max_iterations=4)
    of = training(name, scope, **how)
    expected, one = solved(of), recorder()
    assert equal(solved(of, one), expected)
    assert (one.captures, one.replays) == (1, 3)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_products_over_many_rows_are_not_recorded(alpha, monkeypatch):
    """They take the device longer than the host needs to start them."""
    monkeypatch.setattr(pooled_problem, "ROWS", 10)
    monkeypatch.setattr(whole_system, "ROWS", 10)
    of, one = training("mini", "last-block", alpha=alpha, max_iterations=3), Operations()
    solved(of, one)
    assert one.captures == 0


@pytest.mark.parametrize("solver", ["adam", "cg"])
@pytest.mark.parametrize("error", [RuntimeError("not permitted\nmore"), torch.OutOfMemoryError()])
def test_a_step_that_cannot_be_recorded_stays_eager_and_one_line_says_so(solver, error, caplog):
    of = training("mini", "last-block", solver=solver, epochs=2, batch_size=4, max_iterations=4)
    expected, one = solved(of), FakeGraphs()
    one.failing = error
    assert equal(solved(of, one), expected)
    kind = type(error).__name__
    [told] = [each.getMessage() for each in caplog.records]
    assert told.startswith(f"steps of a training are not recorded: {kind}: ")
    assert "more" not in told


def test_nothing_is_recorded_where_little_memory_is_free(caplog):
    of, one = training("mini", "head", solver="adam", epochs=3, batch_size=4), FakeGraphs()
    expected, one.free = solved(of), 0.1
    assert equal(solved(of, one), expected) and one.captures == 0
    assert "OutOfMemoryError: less than 15% of the memory is free" in caplog.text


def test_an_error_of_the_step_itself_is_raised():
    def broken(given):
        if given[0].sum() > 2:
            raise ZeroDivisionError
        return list(given)

    step = Replayed(broken, Operations())
    assert torch.equal(step([torch.ones(2)])[0], torch.ones(2))
    with pytest.raises(ZeroDivisionError):
        step([2 * torch.ones(2)])


def test_a_step_reads_what_it_is_given_wherever_that_lies():
    factor, one = torch.full((3,), 2.0), Operations()
    step = Replayed(lambda given: [factor * given[0] + given[1]], one)
    for number in range(5):
        given = [torch.full((3,), float(number)), torch.arange(3.0)]
        assert torch.equal(step(given)[0], factor * number + torch.arange(3.0))
        factor += 1
    assert (one.captures, one.replays) == (1, 4)


@pytest.mark.parametrize("solver", ["adam", "cg"])
def test_no_recording_outlives_its_training(solver):
    class Watched(Operations):
        def capture(self, run):
            replay = super().capture(run)
            self.made = weakref.ref(replay)
            return replay

    of, one = training("mini", "last-block", solver=solver, epochs=2, max_iterations=3), Watched()
    gc.disable()  # what is held in a circle would hold a device's memory for long
    try:
        solved(of, one)
        assert one.captures == 1 and one.made() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("compile", ["off", "auto"])
@pytest.mark.parametrize("fits", [True, False])
def test_steps_are_recorded_on_a_gpu_whose_memory_holds_the_rows_unless_compilation_is_off(
    compile, fits, monkeypatch
):
    class Graphs:
        def __init__(self, device: torch.device) -> None:
            self.device = device

    monkeypatch.setattr(recorders, "CudaGraphs", Graphs)
    gpu = torch.device("cuda")
    assert isinstance(recorders.recorder_on(gpu, allowed=True), Graphs)
    assert recorders.recorder_on(gpu, allowed=False) is None
    assert recorders.recorder_on(torch.device("cpu"), allowed=True) is None
    asked = []
    monkeypatch.setattr(
        tangent.training.problem, "recorder_on", lambda on, *, allowed: asked.append((on, allowed))
    )
    where = tangent.Space(backbone("mini"), "head", compile=compile)
    rows = where.readout(source(16, LABELS).pixels)
    room = Room(torch.device("cpu"), rows.nbytes if fits else 0)
    placed = room.take(rows.shape, rows.dtype)
    settings = tangent.Hyperparameters.resolve("head", {})
    TrainingProblem(where, rows if placed is None else placed, LABELS, settings, room=room)
    assert asked == [(where.device, fits and compile == "auto")]


@pytest.mark.parametrize("how", [{"solver": "adam", "epochs": 3, "batch_size": 4}, {}])
@pytest.mark.parametrize("scope", ["last-block", "all"])
def test_on_a_device_trainings_have_the_bytes_of_eager_steps_on_rows_in_a_file(
    scope, how, device, tmp_path, monkeypatch
):
    data, of = source(16, LABELS), backbone("mini", torch.float32)
    recording = tangent.Space(of, scope, device=str(device), compile="auto")
    eager = space_on(device, "mini", scope, dtype=torch.float32)

    def trained(where: tangent.Space) -> bytes:
        return fitted(where, data, tmp_path, max_iterations=4, **how).component.to_bytes()

    expected = trained(eager)
    assert trained(recording) == expected
    monkeypatch.setattr(rooms, "free_bytes", lambda _: 0)
    assert trained(eager) == expected


@pytest.mark.parametrize(
    ("name", "scope"),
    [("mini", "head"), ("mini", "last-block"), ("mini", "all"), ("resnet_basic", "last-block")],
)
def test_no_step_uses_memory_of_the_processor(name, scope, tmp_path, monkeypatch):
    """A graph could not be captured, or would read what lay there when it was."""
    monkeypatch.setattr(pooled_problem, "factor", lambda gram, _ridge: gram)  # it reads a number
    here, mode = training(name, scope), FakeTensorMode()
    there, room = shapes_only.moved(here.space, mode), Room(shapes_only.DEVICE, 10**9)
    with mode:
        rows = room.take(here.rows.shape, here.rows.dtype)
        of = TrainingProblem(there, rows, LABELS, here.hyperparameters, room=room)
        delta, index = of.zero(), of.placed(torch.arange(4))
        with shapes_only.OnlyThere():
            iterative._slope(of, delta, [index])
            whole_system._product(of, 0.5, delta)
        if scope != "head":
            pooled = PooledProblem([Client(of, 1.0, 1.0, 1e-4)], tmp_path)
            with shapes_only.OnlyThere():
                pooled_system._product(pooled, pooled.zero())
        with pytest.raises(AssertionError, match="uses memory of cpu"), shapes_only.OnlyThere():
            of.batch(torch.arange(4))
