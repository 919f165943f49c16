"""At a clean stop SQLite's log is folded in, so that the file alone is the database."""

import shutil
import sqlite3
from pathlib import Path

from app.settings import Settings
from tests.support.service import KEY_FREE, running
from tests.support.uploads import created


def test_a_stopped_service_leaves_everything_in_the_file(migrated: Path, tmp_path: Path):
    folder = tmp_path / "data"
    shutil.copytree(migrated, folder)
    with running(Settings(**KEY_FREE | {"data_dir": folder, "device": "cpu"})) as service:
        for _ in range(4):
            created(service)
    alone = tmp_path / "alone.db"
    shutil.copy(folder / "tangent.db", alone)

    connection = sqlite3.connect(alone)
    assert connection.execute("SELECT count(*) FROM dataset").fetchone() == (4,)
    connection.close()
    log = folder / "tangent.db-wal"
    assert not log.exists() or log.stat().st_size == 0
