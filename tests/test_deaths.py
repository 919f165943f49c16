"""A process that dies after any one effect of a request loses nothing and leaves nothing behind.

Where `test_simulation` draws histories, this file goes through every effect of every request. What
precedes the first effect leaves nothing, so that a death before an effect is one after the last.
"""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Event
from unittest.mock import patch

import pytest
from sqlalchemy import create_engine
from sqlalchemy.util import LRUCache

from app.database import sql_engines
from tests.support.audit import Audit
from tests.support.faults import Fault
from tests.support.history import History, simulated
from tests.support.simulated_process import simulating
from tests.support.statement_cache import statements_compiled_once
from tests.support.trainings import Trainings

FILES = [("cat", 1), ("cat", 2), ("dog", 3)]
REQUESTS: dict[str, Callable[[History, str, str], None]] = {
    "upload": lambda history, _, __: history.upload([("owl", 4), ("yak", 5)]),
    "train": lambda history, dataset, _: history.train(dataset),
    "compose": lambda history, _, component: history.compose("red", "joint", [(component, 1.0)]),
    "delete component": lambda history, _, component: history.delete("components", component),
    "delete dataset": lambda history, dataset, _: history.delete("datasets", dataset),
    "delete image": lambda history, dataset, _: history.delete_image(dataset, 0),
    "import": lambda history, _, component: history.import_copy(component),
    "relabel": lambda history, dataset, _: history.relabel(dataset, "dog", "gnu"),
}


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    """The trainings of all cases, each made once."""
    with simulating():
        yield Trainings(tmp_path_factory.mktemp("trained"))


@pytest.mark.parametrize("fault", [Fault.DIES_AFTER, Fault.FAILS], ids=["death", "failure"])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_fault_at_any_effect_leaves_all_of_the_request_or_nothing(
    name, fault, migrated: Path, tmp_path: Path, trainings
):
    for effect in count(1):
        folder = tmp_path / f"{effect}"
        folder.mkdir()
        with simulated(folder, migrated, trainings) as history:
            history.upload(FILES)
            (dataset,) = history.model.datasets
            history.train(dataset)
            (component,) = history.model.components
            history.compose("blue", "average", [(component, 1.0)])
            history.coming = effect, fault
            REQUESTS[name](history, dataset, component)
            Audit(history).run()
            if not history.struck:
                break
    assert effect > 1, "a request has a commit at least"


def test_the_death_of_one_process_takes_no_lease_from_the_other(
    migrated: Path, tmp_path: Path, trainings
):
    with simulated(tmp_path, migrated, trainings) as history:
        lease, renewed = history.processes[1].service.state.lease, Event()
        history.coming = 1, Fault.DIES_BEFORE

        def renew_while_dead(_: int) -> None:
            assert history.plan.dead
            with patch.object(lease, "_hold", lambda *_: renewed.set()):
                lease.renew_soon()
                renewed.wait(5)

        with patch.object(history, "restart", renew_while_dead):
            history.upload(FILES)
        assert renewed.is_set()


def test_a_simulation_leaves_the_statements_of_other_engines_where_they_are_found():
    other = create_engine("sqlite://")
    compiled = LRUCache(1)
    compiled[other.dialect, "first"] = ...
    with statements_compiled_once():
        compiled[other.dialect, "second"] = ...  # looks for the first for ever if its hash changes
        assert (other.dialect, "second") in compiled
        made, again = (sql_engines.create_engine("sqlite://") for _ in range(2))
        assert made.dialect == again.dialect != other.dialect
        assert made._compiled_cache is again._compiled_cache
