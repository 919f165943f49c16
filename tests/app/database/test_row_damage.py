"""Damage of rows is found by the doctor and the scrub, and never served."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from app.cli import main
from app.database import migrate, row_checksums, row_damage, row_triggers
from app.database.sessions import affected, open_engine, session_factory, transaction
from app.database.tables import Base, Component, Dataset
from app.settings import Settings
from app.store import components
from tests.support.client import compose, delete, predict, verify
from tests.support.flips import damage_row, flip_bit
from tests.support.problems import problem
from tests.support.service import Service, running
from tests.support.stored import fill, settings_of
from tests.support.workers import until
from training_worker.entries import entries
from training_worker.scrubbing import Scrubbing

SCOPE = "head"
FLIPS = 150


def found(settings: Settings) -> list[str]:
    """Return what the doctor finds damaged in the database."""
    engine = open_engine(settings)
    try:
        return row_damage.find(session_factory(engine))
    except DBAPIError as error:
        return [str(error)]
    finally:
        engine.dispose()


def shown(service: Service, path: str) -> dict:
    answer = service.client.get(f"/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def harm(service: Service, table: str, where: str, column: str, value: Any) -> None:
    damage_row(service.state.sessions.kw["bind"], table, where, column, value)


def content(path: Path) -> dict[str, list]:
    """Return all values of the service's tables, as plain SQL reads them and finds them by key."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        every = {}
        for table in row_damage.CHECKED:
            columns = [f'"{each.name}"' for each in table.columns]
            rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table.name}").fetchall()
            keys = [each.name for each in table.primary_key.columns]
            by_key = " AND ".join(f'"{key}" IS CAST(? AS TEXT)' for key in keys)
            places = [[each.name for each in table.columns].index(key) for key in keys]
            texts = all(isinstance(row[place], bytes) for row in rows for place in places)
            query = f"SELECT count(*) FROM {table.name} WHERE {by_key}"
            counts = [
                connection.execute(query, [row[place] for place in places]).fetchone()
                for row in rows
                if texts
            ]
            every[table.name] = [sorted(map(repr, rows)), counts]
        return every


@pytest.fixture(scope="module")
def closed(tmp_path_factory, migrated: Path) -> Path:
    """A folder with something of everything, whose service has ended."""
    folder = tmp_path_factory.mktemp("closed") / "data"
    shutil.copytree(migrated, folder)
    settings = settings_of(folder).model_copy(update={"scope": "head"})
    with running(settings) as service:
        fill(service)
        service.client.post("/v1/keys", json={"name": "one", "scopes": ["admin"]})
    log = folder / "tangent.db-wal"
    assert not log.exists() or log.stat().st_size == 0
    return folder


def test_a_sound_database_raises_no_alarm(closed):
    assert found(settings_of(closed)) == []


@pytest.mark.parametrize("seed", [1, 2])
def test_every_flipped_bit_that_changes_a_value_is_found(closed, tmp_path, seed):
    folder = tmp_path / "data"
    shutil.copytree(closed, folder)
    path, settings = folder / "tangent.db", settings_of(folder)
    whole, sound = path.read_bytes(), content(path)
    places = [place for place, byte in enumerate(whole) if byte]
    dice, told = random.Random(seed), 0

    for _ in range(FLIPS):
        bit = 8 * dice.choice(places) + dice.randrange(8)
        flip_bit(path, bit)
        if found(settings):
            told += 1
        else:
            assert content(path) == sound, f"bit {bit} went undetected"
        for left in folder.glob("tangent.db-*"):
            left.unlink()
        path.write_bytes(whole)

    assert told > FLIPS / 4


def test_each_kind_of_row_is_found_by_its_name(service):
    filled = fill(service)
    evaluation = shown(service, "evaluations")["data"][0]["id"]
    receipt = shown(service, "receipts")["data"][0]["id"]
    harm(service, "space", "name = 'default'", "created_at", "2001-01-01 00:00:00.000000")
    harm(service, "dataset", f"id = '{filled.dataset}'", "name", "other")
    harm(service, "component", f"id = '{filled.kept}'", "seed", 77)
    harm(service, "composition", "name = 'both'", "rule", "weighted")
    harm(service, "evaluation", f"id = '{evaluation}'", "status", "readz")
    harm(service, "receipt", f"id = '{receipt}'", "key_id", "other")

    assert found(service.settings) == [
        *(f"dataset {filled.dataset}", "receipt 1", "space default"),
        *(f"component {filled.kept}", "composition both", f"evaluation {evaluation}"),
    ]


def test_a_damaged_dataset_is_refused_and_the_others_are_shown(either):
    bad, good = either.dataset({"cat": 3}), either.dataset({"dog": 3})
    part = either.component({"cow": 3})
    harm(either, "dataset", f"id = '{bad}'", "num_images", 4)

    document = problem(either.client.get(f"/v1/datasets/{bad}"), 503, "row_damaged")

    assert f"dataset {bad} is damaged" in document["detail"]
    page = shown(either, "datasets")
    assert page["damaged"] == [bad]
    assert bad not in [row["id"] for row in page["data"]]
    assert good in [row["id"] for row in page["data"]]
    problem(either.client.delete(f"/v1/datasets/{bad}"), 503, "row_damaged")
    assert predict(either).status_code == 200
    assert verify(either, delete(either, f"datasets/{good}"))["ok"]
    assert verify(either, delete(either, f"components/{part}"))["ok"]
    assert found(either.settings) == [f"dataset {bad}"]


def test_the_others_answer_without_a_damaged_component_and_say_so(either):
    good, bad = either.component({"cat": 4}), either.component({"dog": 4})
    compose(either, "named", [good, bad])
    harm(either, "component", f"id = '{bad}'", "seed", 77)

    answer = predict(either)

    assert [part["id"] for part in answer.json()["components"]] == [good]
    assert answer.json()["unavailable_components"] == [{"id": bad, "code": "component_damaged"}]
    problem(predict(either, composition="named"), 503, "row_damaged")
    problem(either.client.get(f"/v1/components/{bad}"), 503, "row_damaged")
    assert shown(either, "components")["damaged"] == [bad]


def test_a_value_that_cannot_be_read_any_more_is_an_honest_error(service):
    bad = service.component({"dog": 4})
    harm(service, "component", f"id = '{bad}'", "labels", '{"dog": 4')
    problem(service.client.get(f"/v1/components/{bad}"), 503, "row_damaged")
    harm(service, "component", f"id = '{bad}'", "labels", '{"dog": 4}')
    harm(service, "component", f"id = '{bad}'", "created_at", "2026-13-01")
    problem(service.client.get(f"/v1/components/{bad}"), 503, "row_damaged")
    harm(service, "component", f"id = '{bad}'", "fingerprint", b"\xff".decode("latin-1"))
    with service.state.sessions.kw["bind"].begin() as connection:
        connection.exec_driver_sql("UPDATE component SET name = CAST(X'FF61' AS TEXT)")
    problem(service.client.get(f"/v1/components/{bad}"), 503, "database_damaged")
    assert found(service.settings) == [f"component {bad}"]


def test_no_training_takes_an_image_whose_row_is_damaged(service):
    dataset_id = service.dataset({"cat": 3})
    image = shown(service, f"datasets/{dataset_id}/images")["data"][1]["id"]
    harm(service, "image", f"id = '{image}'", "label", "dog")

    with (
        transaction(service.state.reading) as session,
        pytest.raises(row_checksums.DamagedRow, match=f"image {image} is damaged"),
    ):
        entries(session, dataset_id)

    assert shown(service, f"datasets/{dataset_id}/images")["damaged"] == [image]


def test_a_flipped_receipt_is_told_by_its_verification_and_by_the_doctor(service, capsys):
    receipts = [delete(service, f"components/{service.component({'cat': 3})}") for _ in range(2)]
    assert verify(service, receipts[0])["ok"]
    harm(service, "receipt", "number = 1", "created_at", "2026-01-01 00:00:00.000000")

    checked = verify(service, receipts[0])

    assert (checked["ok"], checked["chain_ok"], checked["chain_broken_at"]) == (False, False, 1)
    problem(service.client.get(f"/v1/receipts/{receipts[0]['id']}"), 503, "row_damaged")
    assert main(["doctor", "--data-dir", str(service.settings.data_dir)]) == 1
    said = capsys.readouterr().out
    assert "receipt 1 is damaged in the database: stop the service, keep a copy, and rest" in said
    assert "receipt 1 breaks the ledger's chain" in said


def test_no_statement_seals_a_damaged_row_again(either):
    part = either.component({"cat": 3})
    harm(either, "component", f"id = '{part}'", "seed", 77)
    engine = either.state.sessions.kw["bind"]
    with engine.begin() as connection:  # the triggers are back
        row_triggers.suspend(connection, ["component"])
        row_triggers.resume(connection, ["component"])

    with transaction(either.state.sessions) as session:
        assert not components.move(session, part, "spoil", error={})
        assert affected(session, update(Component).values(name="other")) == 0

    assert found(either.settings) == [f"component {part}"]


def test_ordinary_statements_seal_what_they_write(either):
    part = either.component({"cat": 3})
    with transaction(either.state.sessions) as session:
        session.get_one(Component, part).name = "by an object"
    with transaction(either.state.sessions) as session:
        assert affected(session, update(Component).values(seed=Component.seed + 1)) == 1
    with either.state.sessions.kw["bind"].begin() as connection:
        connection.exec_driver_sql("UPDATE dataset SET name = 'by another program'")
    assert found(either.settings) == []


def test_a_migration_leaves_damage_damaged(either):
    dataset_id = either.dataset({"cat": 3})
    harm(either, "dataset", f"id = '{dataset_id}'", "name", "other")
    migrate.upgrade(either.settings)
    assert found(either.settings) == [f"dataset {dataset_id}"]


def test_a_backup_says_what_is_damaged_and_keeps_it_so(service, tmp_path, capsys):
    dataset_id = service.dataset({"cat": 3})
    harm(service, "dataset", f"id = '{dataset_id}'", "name", "other")
    folder, file = str(service.settings.data_dir), str(tmp_path / "backup.tar")

    assert main(["backup", file, "--data-dir", folder]) == 1

    assert (
        f"dataset {dataset_id} is damaged in the database, and in the backup"
        in capsys.readouterr().out
    )
    main(["restore", file, "--data-dir", str(tmp_path / "new")])
    assert found(settings_of(tmp_path / "new")) == [f"dataset {dataset_id}"]


def test_the_scrub_finds_damaged_rows_and_says_so_once(serve, caplog):
    service = serve(scrub_period_seconds=0.05)
    dataset_id = service.dataset({"cat": 3})
    harm(service, "dataset", f"id = '{dataset_id}'", "name", "other")
    scrubbing = Scrubbing(service.settings, "worker-1")
    scrubbing.start()
    try:
        until(lambda: service.client.get("/readyz").json()["damaged"]["rows"] == 1)
        begun = service.client.get("/readyz").json()["scrubbed_at"]
        until(lambda: service.client.get("/readyz").json()["scrubbed_at"] != begun)
    finally:
        scrubbing.stop()
    alarms = [line for line in caplog.messages if "damaged in the database" in line]
    assert alarms == [f"1 damaged in the database: dataset {dataset_id}: {row_damage.HOW_TO_MEND}"]
    assert 'tangent_damaged{kind="rows"} 1.0' in service.client.get("/metrics").text
    assert service.client.get("/readyz").json()["status"] == "ok"


def test_every_table_that_is_shown_or_proved_by_has_checksums():
    own = {"worker", "reaper_lease", "scrub", "blob_intent", "database_identity"}
    own |= {"answering_process", "browser_session", "selection_version"}
    assert {table.name for table in row_damage.CHECKED} == set(Base.metadata.tables) - own


@pytest.mark.parametrize("read", [lambda s, i: s.get(Dataset, i), None])
def test_a_row_is_checked_whenever_it_is_read(service, read: Callable | None):
    dataset_id = service.dataset({"cat": 3})
    with transaction(service.state.sessions) as session:
        row = session.get_one(Dataset, dataset_id)
        assert row.intact
    harm(service, "dataset", f"id = '{dataset_id}'", "name", "other")
    query = select(Dataset).where(Dataset.id == dataset_id)
    with (
        transaction(service.state.reading) as session,
        pytest.raises(row_checksums.DamagedRow, match=dataset_id),
    ):
        _ = read(session, dataset_id) if read else list(session.scalars(query))
