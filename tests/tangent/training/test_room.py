"""Rows on the device that trains: the bytes of rows in a file, within a budget, and gone after.

The device is the processor, which is told to have free memory: all else is as on another device.
"""

import gc
from pathlib import Path

import pytest
import torch

import tangent
from tangent.composition.refine import refine
from tangent.training import fit as fitting
from tangent.training import problem, room
from tangent.training.problem import TrainingProblem
from tangent.training.room import SHARE, Room
from tests.support.models import fitted, source, space
from tests.support.private_sums import terms

LABELS = ["ant", "bee", "ant", "cat"] * 3
PLENTY = 10**9
TRAININGS = {
    "cholesky": ("head2toe", {}),
    "weighted labels": ("head", {"alpha": 3.0, "views": 2}),
    "cg": ("last-block", {"max_iterations": 5, "views": 2}),
    "cg to a gradient": ("all", {"max_iterations": 3, "tolerance_of": "gradient"}),
    "cg, weighted": ("last-block", {"alpha": 3.0, "max_iterations": 4}),
    "lbfgs": ("all", {"solver": "lbfgs", "loss": "cross_entropy", "max_iterations": 4}),
    "adam": ("last-2-blocks", {"solver": "adam", "epochs": 2, "batch_size": 5}),
}
trainings = pytest.mark.parametrize(("scope", "how"), TRAININGS.values(), ids=TRAININGS)
ADAM = ("last-block", {"solver": "adam", "epochs": 1, "batch_size": 5})


class Device:
    """The memory of the device: what is free there, and all that was ever taken of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 0
        self.taken: list[torch.Tensor] = []  # other tensors over the same memory
        self.places: list[torch.Tensor] = []
        take = Room.take

        def watched(room: Room, shape, dtype):
            place = take(room, shape, dtype)
            if place is not None:
                self.places.append(place)
                self.taken.append(place.view(-1))
            return place

        monkeypatch.setattr(Room, "take", watched)
        monkeypatch.setattr(room, "free_bytes", lambda _: self.free)

    def is_clean(self) -> bool:
        """Return True if all that was taken is zero, and out of reach of whoever took it."""
        assert self.taken
        return not any(each.any() for each in self.taken) and not any(map(len, self.places))


@pytest.fixture
def device(monkeypatch) -> Device:
    return Device(monkeypatch)


def component(scope: str, how: dict, scratch: Path, data=None) -> bytes:
    where = space("mini", scope, ("owl",))
    return fitted(where, data or source(16, LABELS), scratch, seed=3, **how).component.to_bytes()


def bytes_of_rows(scope: str, images: int) -> int:
    where = space("mini", scope, ("owl",))
    x = source(16, LABELS).pixels[:1].to(where.dtype)
    row = where.readout(x) if where.engine is None else where.engine.rows(x)
    return images * row.nbytes


@trainings
def test_rows_on_the_device_give_the_bytes_of_rows_in_a_file(
    scope, how, device, tmp_path, monkeypatch
):
    monkeypatch.setattr(problem, "ROWS", 8)  # several passes over the rows, the last one smaller
    expected = component(scope, how, tmp_path)
    assert (tmp_path / "activations").exists() and not device.taken
    (tmp_path / "activations").unlink()
    device.free = PLENTY
    assert component(scope, how, tmp_path) == expected
    assert not (tmp_path / "activations").exists()
    assert device.is_clean()


def test_all_rows_or_none_lie_on_the_device(device, tmp_path):
    scope, how = ADAM
    expected, size = component(scope, how, tmp_path), bytes_of_rows(scope, len(LABELS))
    for free, fits in ((SHARE * size // 2, False), (SHARE * size - SHARE, False), (None, True)):
        device.free = SHARE * size if free is None else free
        (tmp_path / "activations").unlink()
        assert component(scope, how, tmp_path) == expected
        assert (tmp_path / "activations").exists() == (not fits) == (not device.taken)
        (tmp_path / "activations").touch()


def test_numbers_beside_the_rows_are_within_the_same_budget(device, tmp_path):
    scope, how = TRAININGS["cg"]
    size = bytes_of_rows(scope, len(LABELS) * how["views"])
    device.free = SHARE * size
    expected = component(scope, how, tmp_path)
    assert [each.nbytes for each in device.taken] == [size]
    device.free = PLENTY
    assert component(scope, how, tmp_path) == expected
    assert len(device.taken) > 2
    assert device.is_clean()


def test_memory_that_is_gone_when_rows_are_placed_leaves_them_in_the_file(
    device, tmp_path, monkeypatch
):
    scope, how = ADAM
    expected = component(scope, how, tmp_path)
    device.free = PLENTY

    class Full:
        @staticmethod
        def empty(*_args, **_how):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        def __getattr__(self, name):
            return getattr(torch, name)

    monkeypatch.setattr(room, "torch", Full())
    assert component(scope, how, tmp_path) == expected
    assert not device.taken


@pytest.mark.parametrize("when", ["caching", "solving"])
def test_memory_that_runs_out_beside_the_rows_begins_the_training_anew(
    when, device, tmp_path, monkeypatch, caplog
):
    scope, how = ADAM
    monkeypatch.setattr(fitting, "BATCH", 5)
    expected = component(scope, how, tmp_path)
    device.free = PLENTY

    def short() -> None:
        if any(map(len, device.places)):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    if when == "caching":
        make = fitting.row_computation
        monkeypatch.setattr(
            fitting, "row_computation", lambda s: lambda x, own=make(s): short() or own(x)
        )
    else:
        outputs = TrainingProblem.outputs
        monkeypatch.setattr(TrainingProblem, "outputs", lambda *given: short() or outputs(*given))
    assert component(scope, how, tmp_path) == expected
    assert "training from rows in a file: cpu has no memory left beside the rows" in caplog.text
    assert device.is_clean()


def test_memory_that_runs_out_without_rows_on_the_device_is_an_error(device, tmp_path, monkeypatch):
    def short(*_given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TrainingProblem, "outputs", short)
    with pytest.raises(torch.OutOfMemoryError):
        component(*ADAM, tmp_path)


def test_nothing_stays_on_the_device_after_a_training_that_fails(device, tmp_path, monkeypatch):
    device.free = PLENTY
    monkeypatch.setattr(torch, "isfinite", lambda values: torch.zeros_like(values, dtype=bool))
    monkeypatch.setattr(fitting, "row_computation", lambda where: where.engine.rows)
    with pytest.raises(tangent.errors.NonFinite):
        component(*ADAM, tmp_path)
    assert device.is_clean()


def test_no_row_is_changed_by_a_training(device, tmp_path, monkeypatch):
    """A reader gives views of the rows."""
    before: list[torch.Tensor] = []
    make = fitting.cached_problem
    monkeypatch.setattr(
        fitting,
        "cached_problem",
        lambda *given: before.append(make(*given).rows.clone()) or make(*given),
    )
    monkeypatch.setattr(Room, "clear", lambda _: None)
    device.free = PLENTY
    for scope, how in (TRAININGS["cg"], TRAININGS["lbfgs"]):
        component(scope, how, tmp_path)
        assert any(torch.equal(each, before[-1].view(-1)) for each in device.taken)
        device.taken.clear()
        gc.collect()


def test_rows_of_a_private_training_stay_on_the_processor_which_reads_them_once(
    device, tmp_path, monkeypatch
):
    device.free = PLENTY
    seen = []

    def look(_space, rows, *_given, **_how):
        seen.append(rows)
        raise InterruptedError

    monkeypatch.setattr(fitting, "private_statistics", look)
    where, promised = space("mini", "head2toe", ("owl",)), terms()
    settings = tangent.Hyperparameters.resolve("head2toe", {"l2": 1e-4})
    data = source(16, list(promised.labels) * 3)
    with pytest.raises(InterruptedError):
        tangent.fit(where, data, settings, scratch=tmp_path, privacy=promised)
    assert len(seen[0]) == len(data.labels) and not device.taken


def test_the_rows_of_all_parts_of_a_refinement_share_the_device(device, tmp_path):
    where = space("mini", "last-block", ("owl",))
    own = [source(16, LABELS, seed) for seed in (1, 2)]
    parts = [
        (fitted(where, each, tmp_path, max_iterations=2).component, None, each) for each in own
    ]
    expected = refine(where, parts, passes=3, scratch=tmp_path)
    device.free = PLENTY
    found = refine(where, parts, passes=3, scratch=tmp_path)
    assert len(device.taken) == 4  # the rows of two parts; features and logits of all
    assert torch.equal(found.head, expected.head)
    for name, value in found.backbone.items():
        assert torch.equal(value, expected.backbone[name])
    assert device.is_clean()


def test_a_room_gives_no_more_than_it_has():
    some = Room(torch.device("cpu"), 100)
    first = some.take((3, 5), torch.float32)
    assert first.shape == (3, 5) and some.holds(first) and not some.holds(first.clone())
    assert some.take((11,), torch.float32) is None
    second = some.take((5,), torch.float64)
    assert some.take((1,), torch.uint8) is None
    some.clear()
    assert not some.holds(first) and first.numel() == second.numel() == 0
    assert Room(torch.device("cpu")).take((1,), torch.uint8) is None  # torch tells nothing of it
