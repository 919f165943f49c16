"""A data folder is shared by services and workers, and held alone by a move or a restore."""

import threading
import time
from contextlib import ExitStack

import pytest

from app.files import folder_lock
from app.settings import BadSettings
from tests.support.stored import settings_of


def test_the_first_to_share_a_folder_knows_that_it_was_alone(tmp_path):
    settings, before = settings_of(tmp_path / "data"), time.time()
    with folder_lock.shared(settings) as first, folder_lock.shared(settings) as second:
        assert before <= first <= time.time()
        assert second is None
    with folder_lock.shared(settings) as third:
        assert third >= first


def test_on_postgres_nobody_knows_as_other_machines_may_share_the_folder(tmp_path):
    settings = settings_of(tmp_path / "data", "postgresql://database.example/none")
    with folder_lock.shared(settings) as alone:
        assert alone is None


def test_a_folder_in_use_is_not_held_alone_and_one_held_alone_is_not_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "PATIENCE", 0.1)
    settings = settings_of(tmp_path / "data")
    with (
        folder_lock.shared(settings),
        pytest.raises(BadSettings, match="in use, a service or a worker runs on it: stop it"),
        folder_lock.exclusive(settings),
    ):
        raise AssertionError("it was held")
    with (
        folder_lock.exclusive(settings),
        pytest.raises(BadSettings, match="in use, a move or a restore is under way: wait"),
        folder_lock.shared(settings),
    ):
        raise AssertionError("it was shared")


def test_processes_that_start_at_once_all_get_their_share(tmp_path):
    """Each looks for a moment whether it is alone, and that keeps no other one out."""
    settings, got = settings_of(tmp_path / "data"), []
    start = threading.Barrier(8)

    def share() -> None:
        start.wait()
        for _ in range(50):
            with folder_lock.shared(settings) as alone:
                got.append(alone)

    with ExitStack() as stack:
        threads = [threading.Thread(target=share) for _ in range(8)]
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
    assert len(got) == 400


def test_a_file_system_without_locks_is_served_and_not_moved(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(folder_lock.errno.ENOLCK, "no locks available")

    monkeypatch.setattr(folder_lock.fcntl, "flock", refuse)
    settings = settings_of(tmp_path / "data")
    with folder_lock.shared(settings) as alone:
        assert alone is None
    with (
        pytest.raises(BadSettings, match="or on a file system without locks: copy it to one that"),
        folder_lock.exclusive(settings),
    ):
        raise AssertionError("it was held")
