"""A worker ends within a bound, although its database is away."""

import os
import signal
import subprocess
import sys

import pytest

from app.store import workers
from tests.support.cut_lines import proxied
from tests.support.workers import Worker, until

SOON = (
    "import sys; from training_worker import ending; ending.END_SECONDS = 1.0; "
    "from training_worker.__main__ import main; sys.exit(main())"
)


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
@pytest.mark.parametrize("cause", ["signal", "parent"])
def test_a_worker_ends_while_its_database_is_frozen(store, cause):
    parent = subprocess.Popen(["sleep", "600"])
    with proxied(store.settings.database_url) as (url, cut):
        known = store.settings.model_dump(exclude_none=True, mode="json") | {"database_url": url}
        variables = {f"TANGENT_{name.upper()}": str(value) for name, value in known.items()}
        more = ["--parent", str(os.getpid() if cause == "signal" else parent.pid)]
        worker = subprocess.Popen([sys.executable, "-c", SOON, *more], env=os.environ | variables)
        try:
            if cause == "parent":  # it never was its parent, as one that has died is not any more
                worker.wait(120)
                return
            until(lambda: len(store.jobs.running()) == 0 and _alive(store))
            with cut.frozen():
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(60) == 1
        finally:
            worker.kill()
            parent.kill()
            parent.wait()


def _alive(store) -> bool:

    with store.sessions() as session:
        return bool(workers.alive(session, dead_seconds=60))


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_worker_whose_database_answers_ends_cleanly(store, start):
    worker: Worker = start()
    until(lambda: _alive(store))
    worker.signal(signal.SIGTERM)
    assert worker.process.wait(60) == 0
    assert not _alive(store)
