"""Migrations: they make exactly the tables of the code, forth and back, on both databases."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, column, inspect, select, table

from app.database import jobs, migrate
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import Base, Component, Dataset, Image
from app.receipts import ledger
from app.settings import Settings

OURS = set(Base.metadata.tables) | {"alembic_version"}


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty database of either kind."""
    url = request.getfixturevalue("empty_postgres") if request.param == "postgres" else None
    return Settings(data_dir=tmp_path / "data", database_url=url, api_key=None)


def tables(settings: Settings) -> set[str]:
    engine = open_engine(settings)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def differences(settings: Settings) -> list:
    """Return the changes that autogenerate would write into the next revision."""
    engine = open_engine(settings)
    try:
        with engine.connect() as connection:
            options = {"include_name": migrate.is_ours, "compare_type": True}
            context = MigrationContext.configure(connection, opts=options)
            return compare_metadata(context, Base.metadata)
    finally:
        engine.dispose()


def test_migrations_make_exactly_the_tables_of_the_code(settings):
    migrate.upgrade(settings)

    assert differences(settings) == []
    assert tables(settings) >= OURS


def test_the_comparison_sees_a_table_that_no_revision_makes(tmp_path):
    settings = Settings(data_dir=tmp_path, database_url=None, api_key=None)
    migrate.upgrade(settings)
    engine = open_engine(settings)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE stray (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("DROP INDEX ix_component_status")
    engine.dispose()

    found = str(differences(settings))

    assert "stray" in found and "ix_component_status" in found


def test_all_other_tables_in_the_sqlite_file_are_the_job_engines(tmp_path):
    settings = Settings(data_dir=tmp_path, database_url=None, api_key=None)
    migrate.upgrade(settings)

    assert tables(settings) - OURS == jobs.TABLES


def test_receipts_of_before_there_were_signatures_stay_sound(settings):
    migrate.upgrade(settings)
    migrate.downgrade(settings, "2026_11_22_first_tables")
    made = "2025-01-31 09:30:00.123456+00:00"
    sealed = {
        "body": {"version": 1},
        "created_at": "2025-01-31T09:30:00.123456Z",
        "id": "rcpt_a",
        "number": 1,
        "previous_hash": "0" * 64,
    }
    text = json.dumps(sealed, separators=(",", ":"))
    engine = open_engine(settings)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO receipt (number, id, body, previous_hash, hash, created_at) VALUES "
            f"(1, 'rcpt_a', '{json.dumps(sealed['body'])}', '{'0' * 64}', "
            f"'{hashlib.sha256(text.encode()).hexdigest()}', '{made}')"
        )
    engine.dispose()

    migrate.upgrade(settings)

    engine = open_engine(settings)
    with transaction(session_factory(engine)) as session:
        assert ledger.broken_at(session) is None
        old = ledger.get(session, "rcpt_a")
        assert ledger.signature_ok(session, old) is None
        ledger.append(session, receipt_id="rcpt_b", body={"version": 2})
        assert ledger.broken_at(session) is None
    engine.dispose()


def test_up_down_and_up_again_ends_where_up_alone_does(settings):
    migrate.upgrade(settings)
    migrate.downgrade(settings)
    assert tables(settings) & OURS == {"alembic_version"}
    assert not migrate.is_current(settings)

    migrate.upgrade(settings)

    assert differences(settings) == []
    assert migrate.is_current(settings)


def test_what_was_stored_before_a_revision_is_there_after_it_and_back_again(settings):
    migrate.upgrade(settings)
    migrate.downgrade(settings, "2026_11_22_first_tables")
    engine = open_engine(settings)
    columns = "id, name, sha256, bytes, num_images, labels, rejected, num_rejected, duplicates"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO dataset ({columns}, pack_key, created_at) VALUES ('ds_1', 'n', "
            "'9f86', 5, 1, '{}', '[]', 0, 0, 'key', '2026-11-22 00:00:00')"
        )
        connection.exec_driver_sql(
            "INSERT INTO image (id, dataset_id, path, label, sha256, media_type, width, height, "
            "pack_offset, pack_length) VALUES ('img_1', 'ds_1', 'a', 'a', '77', 'p', 1, 1, 0, 5)"
        )

    migrate.upgrade(settings)
    with engine.begin() as connection:
        dataset = connection.exec_driver_sql("SELECT sha256, revision FROM dataset").all()
        image = connection.exec_driver_sql("SELECT dataset_id, copies FROM image").all()
        connection.exec_driver_sql("UPDATE dataset SET sha256 = NULL")
    migrate.downgrade(settings, "2026_11_22_first_tables")
    with engine.connect() as connection:
        left = connection.exec_driver_sql(
            "SELECT dataset.sha256 FROM dataset JOIN image ON true"
        ).all()
    engine.dispose()

    assert ([tuple(row) for row in dataset], [tuple(row) for row in image]) == (
        [("9f86", 0)],
        [("ds_1", 1)],
    )
    assert [tuple(row) for row in left] == [("",)]


def test_images_of_before_were_told_the_split_that_counts(settings):
    migrate.upgrade(settings)
    engine = open_engine(settings)
    numbers = {"bytes": 5, "num_images": 1, "num_rejected": 0, "duplicates": 0}
    dataset = {"id": "ds_1", "name": "n", "labels": {"a": 1}, "rejected": [], "pack_key": "key"}
    image = {"id": "img_1", "dataset_id": "ds_1", "path": "a", "label": "a", "sha256": "77"}
    place = {"media_type": "p", "width": 1, "height": 1, "pack_offset": 0, "pack_length": 5}
    with transaction(session_factory(engine)) as session:
        session.add(Dataset(**dataset, **numbers))
        session.flush()
        session.add(Image(**image, **place, split="test"))
    engine.dispose()
    migrate.downgrade(settings, "2026_11_29_browser_sessions")

    migrate.upgrade(settings)

    engine = open_engine(settings)
    with transaction(session_factory(engine)) as session:
        row = session.get_one(Image, "img_1")
        assert (row.split, row.own_split, row.intact) == ("test", "test", True)
    engine.dispose()


def test_flags_of_refinements_become_columns_and_flags_again(settings):
    migrate.upgrade(settings)
    migrate.downgrade(settings, "2026_11_28_database_identity")
    made = {"operator": "refine", "parameters": {"passes": 8}}
    flags = {
        "cmp_a": made | {"automatic": True, "composition": "two", "replaced": True},
        "cmp_b": made | {"automatic": True, "composition": None},
        "cmp_c": made,  # by a client
        "cmp_d": None,
    }
    engine, at = open_engine(settings), "'2026-11-25 09:30:00.5+00:00'"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO space (name, backbone, scope, declared_labels, default_rule, fingerprint, "
            "image_size, parameters_total, parameters_tangent, engine, engine_reason, created_at) "
            f"VALUES ('s', 'x', 'x', '[]', 'x', 'x', 1, 1, 1, 'x', 'x', {at})"
        )
        for name, derived in flags.items():
            status = "cancelled" if name == "cmp_a" else "ready"
            flag = "NULL" if derived is None else f"'{json.dumps(derived)}'"
            end = "NULL" if name == "cmp_a" else at
            connection.exec_driver_sql(
                "INSERT INTO component (id, name, space, status, hyperparameters, seed, labels, "
                "metadata, fingerprint, attempts, progress, metrics, derived, created_at, "
                f"started_at, finished_at) VALUES ('{name}', 'x', 's', '{status}', '{{}}', 0, "
                f"'{{}}', '{{}}', 'x', 1, '{{}}', '{{}}', {flag}, {at}, {at}, {end})"
            )
        connection.exec_driver_sql(
            "INSERT INTO component_event (component_id, type, data, created_at) VALUES "
            "('cmp_a', 'status', '{}', '2026-11-25 10:00:00+00:00')"
        )

    migrate.upgrade(settings)
    with transaction(session_factory(engine)) as session:
        rows = {row.id: row for row in session.scalars(select(Component))}
    migrate.downgrade(settings, "2026_11_28_database_identity")
    with transaction(session_factory(engine)) as session:
        stored = table("component", column("id"), column("derived", JSON()))
        again = {row.id: row.derived for row in session.execute(select(stored))}
    engine.dispose()

    replaced = datetime(2026, 11, 25, 10, tzinfo=UTC)
    assert {name: row.derived for name, row in rows.items()} == {
        "cmp_a": made,
        "cmp_b": made,
        "cmp_c": made,
        "cmp_d": None,
    }
    assert {name: (row.automatic, row.refines, row.replaced_at) for name, row in rows.items()} == {
        "cmp_a": (True, "two", replaced),
        "cmp_b": (True, None, None),
        "cmp_c": (False, None, None),
        "cmp_d": (False, None, None),
    }
    assert rows["cmp_a"].finished_at == replaced  # it had no end, and had ended
    assert again == flags


def test_a_second_upgrade_changes_nothing(settings):
    migrate.upgrade(settings)
    before = tables(settings)

    migrate.upgrade(settings)

    assert tables(settings) == before


def test_asking_whether_it_is_current_makes_no_file(tmp_path):
    settings = Settings(data_dir=tmp_path / "new", database_url=None, api_key=None)

    assert not migrate.is_current(settings)
    assert migrate.is_empty(settings)

    assert not settings.data_dir.exists()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_that_start_together_all_find_a_current_database(kind, request, tmp_path):
    """From another working directory, as an installed package would be used."""
    url = request.getfixturevalue("empty_postgres") if kind == "postgres" else None
    settings = Settings(data_dir=tmp_path / "data", database_url=url, api_key=None)
    code = (
        "from app.database import migrate; from app.settings import Settings; "
        "s = Settings(); migrate.upgrade(s); assert migrate.is_current(s)"
    )
    root = str(Path(__file__).resolve().parents[3])
    environment = os.environ | {"TANGENT_DATA_DIR": str(settings.data_dir), "PYTHONPATH": root}
    if url:
        environment["TANGENT_DATABASE_URL"] = url

    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
        for _ in range(3)
    ]

    assert [process.wait(120) for process in started] == [0, 0, 0]
    assert differences(settings) == []


def test_there_is_one_newest_revision_and_every_slug_is_dated():
    scripts = ScriptDirectory.from_config(migrate.config())

    assert len(scripts.get_heads()) == 1
    for script in scripts.walk_revisions():
        assert Path(script.path).name[:10].replace("_", "").isdigit()
