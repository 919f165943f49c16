"""The steps of a solver do not wait for their device once a parameter: numbers stay on it.

A number that Python reads is one `aten::_local_scalar_dense`, on every kind of device.
"""

from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tangent.training import iterative
from tests.support.models import problem, source, space

READ = torch.ops.aten._local_scalar_dense.default


class Reads(TorchDispatchMode):
    """Counts the numbers that are read while it is on, and not paused."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.paused = 0, False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is READ and not self.paused
        return function(*args, **(kwargs or {}))

    @contextmanager
    def pause(self):
        self.paused = True
        yield
        self.paused = False


def training(scope: str, **given):
    return problem(space("mini", scope), source(16, list("abcabcab")), l2=1e-6, **given)


def reads(of, run) -> int:
    """The numbers read in one run of a solver."""
    with Reads() as counted:
        run(of, counted)
    return counted.count


def solve(of, _):
    iterative.conjugate_gradients(of, lambda *_: None)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
@pytest.mark.parametrize("criterion", ["gradient", "logits", "delta"])
@pytest.mark.parametrize("scope", ["last-block", "all"])
def test_a_step_of_conjugate_gradients_reads_one_number(scope, criterion, alpha):
    how = dict(solver="cg", alpha=alpha, tolerance=1e-12, tolerance_of=criterion)
    few, more = (reads(training(scope, max_iterations=n, **how), solve) for n in (2, 5))
    assert more - few <= 3


@pytest.mark.parametrize("penalty", ["squared", "norm"])
@pytest.mark.parametrize("scope", ["head", "last-block", "all"])
def test_the_steps_of_an_epoch_of_adam_read_no_number(scope, penalty, monkeypatch):
    """Torch's own step reads the counts of its steps, which lie on the processor."""
    step = torch.optim.Adam.step

    def run(of, counted):
        def uncounted(self, closure=None):
            with counted.pause():
                return step(self, closure)

        monkeypatch.setattr(torch.optim.Adam, "step", uncounted)
        iterative.adam(of, 0, lambda *_: None)

    how = dict(solver="adam", penalty=penalty, epochs=1)
    few, more = (reads(training(scope, batch_size=size, **how), run) for size in (4, 1))
    assert more == few
