"""Metrics of the process, also without a database, and of the rows in the database."""

import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from app.database import postgres_connections
from app.database import sessions as db
from app.database.sessions import session_factory, transaction
from app.database.tables import Component, now
from app.settings import Settings
from app.store import components, workers
from tests.support.client import predict
from tests.support.images import image
from tests.support.postgres import SERVER
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


def metrics(service: Service) -> dict[str, float]:
    """Return every sample by its name with labels."""
    answer = service.client.get("/metrics")
    assert answer.status_code == 200, answer.text
    lines = (line for line in answer.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_with_the_database_down_the_process_still_tells_its_own(
    service: Service, tmp_path: Path
) -> None:
    before = metrics(service)
    away = create_engine(f"sqlite:///{tmp_path}/no such folder/tangent.db")
    with service.replaced(reading=session_factory(away)):
        found = metrics(service)
    assert (before["tangent_database_up"], found["tangent_database_up"]) == (1, 0)
    stored = ("tangent_component", "tangent_dataset", "tangent_training", "tangent_receipts")
    assert [name for name in before if name.startswith(stored)]
    assert not [name for name in found if name.startswith(stored)]
    assert found['tangent_inference_forward_seconds_bucket{le="+Inf"}'] >= 1
    assert metrics(service).keys() >= before.keys()


def test_a_postgres_that_goes_away_is_told(postgres: str, serve: Callable[..., Service]) -> None:
    service = serve(database_url=postgres)
    assert metrics(service)["tangent_database_up"] == 1
    name = postgres.rpartition("/")[2]
    with psycopg.connect(f"{SERVER}/postgres", autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        assert metrics(service)["tangent_database_up"] == 0
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert metrics(service)["tangent_database_up"] == 1


def test_a_database_server_that_does_not_answer_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_connections, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"postgresql://x@127.0.0.1:{mute.getsockname()[1]}/x"
        engine, began = db.open_engine(Settings(database_url=url, api_key=None)), monotonic()
        with pytest.raises(OperationalError, match="timeout"):
            engine.connect()
        assert monotonic() - began < 10


def test_components_are_counted_by_status_and_by_their_bytes(either: Service) -> None:
    assert metrics(either)["tangent_training_queue_oldest_seconds"] == 0
    ready = either.component({"cat": 2})
    dataset = either.dataset({"dog": 2})
    queued, cancelled = either.queued(dataset), either.queued(dataset)
    either.client.post(f"/v1/components/{cancelled}/cancel")
    with transaction(either.state.sessions) as session:
        session.get_one(Component, queued).created_at = now() - timedelta(seconds=500)
    found = metrics(either)
    counts = {"queued": 1, "training": 0, "ready": 1, "failed": 0, "cancelled": 1}
    for status, number in counts.items():
        assert found[f'tangent_components{{status="{status}"}}'] == number
    size = either.client.get(f"/v1/components/{ready}").json()["bytes"]
    assert found["tangent_component_bytes"] == size
    assert 500 <= found["tangent_training_queue_oldest_seconds"] < 600


def test_trainings_are_counted_by_outcome_and_time(either: Service) -> None:
    dataset = either.dataset({"cat": 2})
    for outcome, seconds in (("ready", 0.5), ("ready", 20), ("failed", 90), ("cancelled", 4)):
        ended_after(either, either.queued(dataset), outcome, seconds)
    either.client.post(f"/v1/components/{either.queued(dataset)}/cancel")  # never begun
    found, name = metrics(either), "tangent_training_duration_seconds"
    counts = {"ready": (2, 20.5), "failed": (1, 90), "cancelled": (1, 4)}
    for outcome, (count, total) in counts.items():
        labels = f'{{outcome="{outcome}"}}'
        assert found[f"{name}_gcount{labels}"] == count
        assert found[f"{name}_gsum{labels}"] == pytest.approx(total, abs=0.01)
    below = {"1.0": 1, "15.0": 1, "60.0": 2, "+Inf": 2}
    for bound, count in below.items():
        assert found[f'{name}_bucket{{le="{bound}",outcome="ready"}}'] == count


def ended_after(service: Service, component_id: str, outcome: str, seconds: float) -> None:
    """End the queued component's training with this outcome after this time."""
    with transaction(service.state.sessions) as session:
        components.start(session, component_id, executor_id="w")
        row = session.get_one(Component, component_id, populate_existing=True)
        row.status, row.finished_at = outcome, row.started_at + timedelta(seconds=seconds)


def test_datasets_images_receipts_and_workers_are_counted(either: Service) -> None:
    either.dataset({"cat": 3})
    deleted = either.dataset({"dog": 4, "cow": 1})
    found = metrics(either)
    assert (found["tangent_datasets"], found["tangent_dataset_images"]) == (2, 8)
    assert (found["tangent_receipts_total"], found["tangent_workers"]) == (0, 0)
    either.client.delete(f"/v1/datasets/{deleted}")
    with transaction(either.state.sessions) as session:
        workers.beat(session, "w")
    found = metrics(either)
    assert (found["tangent_datasets"], found["tangent_dataset_images"]) == (1, 3)
    assert (found["tangent_receipts_total"], found["tangent_workers"]) == (1, 1)
    assert found["tangent_deletion_duration_seconds_count"] == 1


def test_predictions_are_measured_by_time_and_images(service: Service) -> None:
    problem(predict(service), 409, "no_components")
    service.component({"cat": 2})
    for images in (1, 3):
        assert predict(service, *(image("cat", 50 + n) for n in range(images))).status_code == 200
    found = metrics(service)
    assert found["tangent_prediction_duration_seconds_count"] == 2
    assert found["tangent_prediction_images_sum"] == 4
    assert found['tangent_prediction_images_bucket{le="2.0"}'] == 1


def test_the_running_version_is_told(service: Service) -> None:
    version = service.client.get("/openapi.json").json()["info"]["version"]
    assert metrics(service)[f'tangent_build_info{{version="{version}"}}'] == 1


def test_no_label_of_a_metric_is_free_text(service: Service) -> None:
    service.component({"Quittengelee": 2})
    body = {"rule": "average", "components": "all"}
    service.client.put("/v1/compositions/Xanthippe", json=body)
    service.client.get("/v1/compositions/Xanthippe")
    text = service.client.get("/metrics").text
    for word in ("Quittengelee", "Xanthippe", "cmp_0", "ds_0"):
        assert word not in text
