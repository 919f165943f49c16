"""One worker at a time hands back the jobs of dead workers; none can keep the others from it."""

import pytest
from sqlalchemy.exc import DBAPIError

from tests.support.workers import until
from training_worker.liveness import Liveness


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_a_worker_frozen_while_it_reaps_lets_another_one_reap(store):
    settings = store.settings.model_copy(update={"worker_dead_seconds": 1.0})
    frozen, other = (Liveness(settings, store.jobs, name) for name in ("frozen", "other"))

    def can_reap() -> bool:
        with other._reaping() as mine:
            return mine

    try:
        with pytest.raises(DBAPIError), frozen._reaping() as mine:
            assert mine
            assert not can_reap()
            until(can_reap, 20)
    finally:
        frozen.engine.dispose()
        other.engine.dispose()
