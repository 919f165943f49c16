"""The lease's protocol in simulated worlds: no late answer, and a fault in each weaker one."""

import pytest

from app.inference import lease
from app.inference.lease import Lease
from tests.support import lease_world
from tests.support.lease_world import Rows, SimulatedProcess, first_late

SEEDS, STEPS = range(150), 1500
hold, remove = Lease._hold, Rows.remove


def test_no_answer_leaves_after_a_deletion_that_it_does_not_know():
    answers, deletions = lease_world.answers(SEEDS, STEPS)
    assert answers > 10_000 and deletions > 500


def from_the_end_of_the_reading(self, turn, epoch, _end):
    hold(self, turn, epoch, self._clock() + self.seconds)


def whatever_was_suspended(self, _turn, epoch, end):
    hold(self, self._turn, epoch, end)


def whatever_it_has_confirmed(self, process_id, *, before=None):
    remove(self, process_id)


def awake_only(self):
    return 1000 + self.rate * (self.world.time - self.stopped_for)


WEAKER = {
    "a deletion waits for half a lease": (lease, "MARGIN", -0.5),
    "a deletion waits for nobody": (Lease, "await_others", lambda self, epoch: []),
    "a lease begins at the end of the reading": (Lease, "_hold", from_the_end_of_the_reading),
    "a process confirms before it drops its lease": (Lease, "_drop", lambda self: None),
    "a reading may come from before the own deletion": (Lease, "_hold", whatever_was_suspended),
    "a row is removed although it was confirmed": (Rows, "remove", whatever_it_has_confirmed),
    "a clock does not count pauses": (SimulatedProcess, "clock", awake_only),
    "clocks differ by more than the margin": (lease_world, "MAX_SKEW", 0.4),
}


@pytest.mark.parametrize("fault", WEAKER)
def test_the_simulation_finds_the_fault_of_a_weaker_protocol(fault, monkeypatch):
    monkeypatch.setattr(*WEAKER[fault])
    assert first_late(range(2000), STEPS) is not None
