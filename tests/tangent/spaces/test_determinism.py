"""Deterministic forms: asked for while something must have the same bits, restored afterwards."""

import threading

import pytest
import torch
from torch.backends import cudnn
from torch.utils import deterministic as filling

import tangent
from tangent.errors import NotDowndatable
from tangent.spaces.determinism import deterministic, refusal, run_deterministically
from tests.support.models import backbone, fitted, source

CPU, CUDA = torch.device("cpu"), torch.device("cuda")  # by name alone: nothing is asked of it
CUBLAS = (
    "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` or "
    "`at::Context::setDeterministicAlgorithms(true)`, but this operation is not deterministic "
    "because it uses CuBLAS and you have CUDA >= 10.2."
)


def modes() -> tuple[bool, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        filling.fill_uninitialized_memory,
    )


def unordered() -> torch.Tensor:
    """An operation that torch refuses to call deterministic, on the CPU too."""
    return torch.zeros(3).put_(torch.tensor([1]), torch.tensor([2.0]))


@pytest.fixture(autouse=True)
def modes_as_found():
    before = modes()
    yield
    assert modes() == before


def test_a_block_asks_for_deterministic_forms_and_restores_what_it_found(monkeypatch):
    monkeypatch.setattr(cudnn, "benchmark", True)
    before = modes()
    with deterministic(CUDA):
        assert modes() == (True, False, True, False, False)
        with pytest.raises(RuntimeError, match="put_ does not have a deterministic"):
            unordered()
    assert modes() == before
    with pytest.raises(KeyError), deterministic(CUDA):
        raise KeyError
    assert modes() == before


def test_on_the_cpu_nothing_is_asked_for():
    before = modes()
    with deterministic(CPU):
        assert modes() == before
        unordered()


def test_overlapping_blocks_restore_what_the_first_one_found():
    before, entered, may_leave = modes(), threading.Event(), threading.Event()

    def hold() -> None:
        with deterministic(CUDA):
            entered.set()
            assert may_leave.wait(60)

    other = threading.Thread(target=hold)
    with deterministic(CUDA):
        other.start()
        assert entered.wait(60)
    assert modes() == (True, False, True, False, False)  # the other block is still open
    may_leave.set()
    other.join()
    assert modes() == before


def test_what_has_no_deterministic_form_is_run_anew_and_told():
    begun = []

    def run() -> int:
        begun.append(modes()[0])
        unordered()
        return 7

    found, reason = run_deterministically(CUDA, run)
    assert (found, begun) == (7, [True, False])
    assert reason == "put_ has no deterministic form on this device"
    assert run_deterministically(CUDA, lambda: 8) == (8, None)


def test_other_errors_are_passed_on_and_nothing_is_run_twice():
    begun = []

    def run() -> None:
        begun.append(1)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        run_deterministically(CUDA, run)
    assert begun == [1]


def test_products_without_fixed_buffers_are_told_with_what_to_do():
    assert "CUBLAS_WORKSPACE_CONFIG" in refusal(RuntimeError(CUBLAS))
    assert refusal(RuntimeError("out of memory")) is None


def opened(scope, monkeypatch):
    """A space on the CPU whose trainings ask torch for what those on a GPU ask."""
    where = tangent.Space(backbone("mini"), scope)
    monkeypatch.setattr("tangent.training.fit.run_deterministically", _run_as_on_a_gpu)
    monkeypatch.setattr("tangent.training.downdate.deterministic", lambda _: deterministic(CUDA))
    return where


def _run_as_on_a_gpu(_device, run):
    return run_deterministically(CUDA, run)


HOW = {
    "cholesky": ("head2toe", {}),
    "cg": ("last-block", {"max_iterations": 3}),
    "lbfgs": ("last-block", {"solver": "lbfgs", "loss": "cross_entropy", "max_iterations": 3}),
    "adam": ("all", {"solver": "adam", "epochs": 2}),
}


@pytest.mark.parametrize(("scope", "how"), HOW.values(), ids=HOW)
def test_a_training_asks_for_deterministic_forms_and_has_the_bytes_that_it_has_without(
    scope, how, tmp_path, monkeypatch
):
    data = source(16, ["cat", "dog", "cat", "eel", "dog", "cat"])
    plain = fitted(tangent.Space(backbone("mini"), scope), data, tmp_path, **how)
    seen, where = [], opened(scope, monkeypatch)
    for name in ("readout", "rows"):
        found = getattr(where, name) if where.engine is None else where.engine.rows
        target = where if where.engine is None else where.engine
        if hasattr(target, name):
            monkeypatch.setattr(
                target, name, lambda x, found=found: (seen.append(modes()[0]), found(x))[1]
            )
    asked = fitted(where, data, tmp_path, **how)
    assert seen and all(seen)
    assert asked.component.to_bytes() == plain.component.to_bytes()
    assert "not_repeatable" not in asked.metrics and "not_repeatable" not in plain.metrics


def test_a_training_with_another_operation_says_so_and_is_not_downdated(tmp_path, monkeypatch):
    data = source(16, ["cat", "dog", "cat", "eel"])
    where = opened("head", monkeypatch)
    readout = where.readout_alone
    monkeypatch.setattr(where, "readout_alone", lambda x: (unordered(), readout(x))[1])
    trained = fitted(where, data, tmp_path)
    assert trained.metrics["not_repeatable"] == "put_ has no deterministic form on this device"
    with pytest.raises(NotDowndatable, match="trained again: put_ has no deterministic form"):
        tangent.without(where, trained.component, data.pixels[:1], data.labels[:1])
