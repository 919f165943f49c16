"""Any history of requests, crashes and faults leaves what the algebra says, and loses nothing.

    make test                       a few short histories
    make simulate SEED=1 HISTORIES=1000 STEPS=40

Every failure prints the history in the fewest steps that show it, and its seed.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.audit import Audit
from tests.support.faults import Fault
from tests.support.history import simulated
from tests.support.postgres import database
from tests.support.simulated_process import simulating
from tests.support.trainings import Trainings

HISTORIES = int(os.environ.get("HISTORIES", "6"))
STEPS = int(os.environ.get("STEPS", "12"))
LABELS = ("cat", "dog", "owl", "yak")
NAMES = ("red", "blue")
RULES = ("joint", "average", "weighted")
MAX_AUDITS = 1  # before the one at the end: it restarts all, and costs as much as 20 requests
WEIGHTS = (0.5, 1.0, 2.25)
HOUR, YEAR = 3600.0, 3.2e7
JUMPS = (-YEAR, -HOUR, -2.0, 2.0, HOUR, YEAR)  # seconds by which a clock is set
IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # where flushing a file costs nothing
places = st.integers(0, 1000)
# During a request, mostly: at the effect of this number, if it has so many.
faults = st.one_of(st.none(), *[st.tuples(st.integers(1, 10), st.sampled_from(Fault))] * 2)


class Simulation(RuleBasedStateMachine):
    """Requests to two processes on one data folder, with faults and clocks that jump."""

    migrated: ClassVar[Path]  # an empty data folder, to be copied
    trainings: ClassVar[Trainings]  # of all histories

    def __init__(self) -> None:
        super().__init__()
        self.uploads = self.audits = 0
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="history-", dir=IN_MEMORY))
            url = self.database(stack)
            history = simulated(Path(folder), self.migrated, self.trainings, url)
            self.history = stack.enter_context(history)
            self.stack = stack.pop_all()

    def database(self, _stack: ExitStack) -> str | None:
        """The URL of a new database for the history; None for SQLite in its folder."""
        return None

    def teardown(self) -> None:
        """Audit the end of the history, then remove its folder."""
        try:
            Audit(self.history).run()
        finally:
            self.stack.close()

    @property
    def model(self):
        return self.history.model

    def chosen(self, among, place: int):
        """One of the sorted items, by any number."""
        items = sorted(among)
        return items[place % len(items)]

    @initialize()
    def begin(self):
        for labels in (LABELS[:2], LABELS[1:3]):
            self.upload(labels, None)
        for dataset_id in list(self.model.datasets):
            self.history.train(dataset_id)

    @rule(which=st.integers(0, 1))
    def turn_to(self, which):
        self.history.turn_to(which)

    @rule(seconds=st.sampled_from(JUMPS))
    def set_clock(self, seconds):
        self.history.set_clock(seconds)

    @rule(
        labels=st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True), fault=faults
    )
    def upload(self, labels, fault):
        self.uploads += 1
        start = 10 * self.uploads
        contents = [(label, start + n) for label in labels for n in range(2)]
        self.history.coming = fault
        self.history.upload(contents)

    @precondition(lambda self: self.model.datasets)
    @rule(place=places, fault=faults)
    def train(self, place, fault):
        self.history.coming = fault
        self.history.train(self.chosen(self.model.datasets, place))

    @precondition(lambda self: self.model.components)
    @rule(place=places, fault=faults)
    def import_copy(self, place, fault):
        self.history.coming = fault
        self.history.import_copy(self.chosen(self.model.components, place))

    @precondition(lambda self: self.model.components)
    @rule(
        name=st.sampled_from(NAMES),
        chosen_rule=st.sampled_from(RULES),
        members=st.lists(st.tuples(places, st.sampled_from(WEIGHTS)), min_size=1, max_size=3),
        fault=faults,
    )
    def compose(self, name, chosen_rule, members, fault):
        parts = {self.chosen(self.model.components, place): weight for place, weight in members}
        self.history.coming = fault
        self.history.compose(name, chosen_rule, list(parts.items()))

    @precondition(lambda self: self.model.components)
    @rule(place=places, fault=faults)
    def delete_component(self, place, fault):
        self.history.coming = fault
        self.history.delete("components", self.chosen(self.model.components, place))

    @precondition(lambda self: self.model.datasets)
    @rule(place=places, fault=faults)
    def delete_dataset(self, place, fault):
        self.history.coming = fault
        self.history.delete("datasets", self.chosen(self.model.datasets, place))

    @precondition(lambda self: any(len(held) > 1 for held in self.model.datasets.values()))
    @rule(place=places, image=places, fault=faults)
    def delete_image(self, place, image, fault):
        self.history.coming = fault
        able = [each for each, held in self.model.datasets.items() if len(held) > 1]
        self.history.delete_image(self.chosen(able, place), image)

    @precondition(lambda self: self.model.datasets)
    @rule(place=places, old=places, new=st.sampled_from([*LABELS, "gnu"]), fault=faults)
    def relabel(self, place, old, new, fault):
        dataset_id = self.chosen(self.model.datasets, place)
        label = self.chosen(set(self.model.datasets[dataset_id].values()), old)
        if label != new:
            self.history.coming = fault
            self.history.relabel(dataset_id, label, new)

    @rule(which=st.integers(0, 1))
    def restart(self, which):
        self.history.restart(which)

    @rule()
    def audit(self):
        if self.audits < MAX_AUDITS:
            self.audits += 1
            Audit(self.history).run()

    @rule()
    def look(self):
        """Nothing acknowledged is missing, and nothing deleted is there."""
        for kind in ("datasets", "components"):
            assert set(self.history.process.ids(kind)) == set(getattr(self.model, kind))


class SimulationOnPostgres(Simulation):
    """The same on a Postgres database, whose lines break too."""

    template: ClassVar[str]  # an empty database, to be copied

    def database(self, stack: ExitStack) -> str | None:
        return stack.enter_context(database(template=self.template))


@pytest.fixture(scope="module", autouse=True)
def shared(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All histories share the opened space, which never changes, and their equal trainings."""
    Simulation.migrated = migrated
    Simulation.trainings = Trainings(tmp_path_factory.mktemp("trained"))
    with simulating():
        yield


@pytest.fixture(scope="module")
def copied(template: str) -> None:
    """Histories on Postgres copy this database."""
    SimulationOnPostgres.template = template


TestSimulation = Simulation.TestCase
TestSimulation.settings = settings(
    max_examples=HISTORIES,
    stateful_step_count=STEPS,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestSimulationOnPostgres = pytest.mark.usefixtures("copied")(SimulationOnPostgres.TestCase)
TestSimulationOnPostgres.settings = settings(TestSimulation.settings, max_examples=HISTORIES // 2)
