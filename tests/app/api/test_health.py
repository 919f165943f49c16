"""Readiness and liveness wait for nobody: no pool, no request, no lock without end."""

import threading

import pytest

from app.database.sessions import open_engine, session_factory
from app.operations import health
from app.settings import Settings
from tests.support.service import KEY_FREE, Service

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def test_no_request_and_no_pool_holds_up_readiness(service: Service):
    engine = service.state.reading.kw["bind"]
    held = [engine.connect() for _ in range(15)]
    go = threading.Event()
    service.app.add_api_route("/wait", go.wait)  # a function without `async` takes a thread
    threads = [threading.Thread(target=service.client.get, args=("/wait",)) for _ in range(45)]
    try:
        for thread in threads:
            thread.start()
        assert service.client.get("/livez").status_code == 200
        assert service.client.get("/readyz").status_code == 200
    finally:
        go.set()
        for thread in threads:
            thread.join()
        for each in held:
            each.close()


def test_a_check_that_does_not_end_is_told_after_a_bound(
    service: Service, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(health, "MAX_SECONDS", 0.2)
    go = threading.Event()
    monkeypatch.setattr(service.state.engine, "canary", lambda _: go.wait())
    try:
        for _ in range(6):  # more than there are threads for it
            answer = service.client.get("/readyz")
            assert answer.status_code == 503
        checks = answer.json()["checks"]
        assert "no answer within 0.2 s" in [check["detail"] for check in checks.values()]
        assert service.client.get("/livez").status_code == 200
    finally:
        go.set()
    monkeypatch.undo()
    assert service.client.get("/readyz").status_code == 200


def test_a_readiness_check_tells_of_an_outage_in_one_line(
    service: Service, caplog: pytest.LogCaptureFixture
):
    away = open_engine(Settings(**KEY_FREE | {"database_url": NOWHERE}))
    with service.replaced(health=session_factory(away, read_only=True)):
        assert service.client.get("/readyz").status_code == 503
    (told,) = [each for each in caplog.records if each.name == "app.operations.health"]
    assert told.exc_info is None and told.levelname == "WARNING"
    assert "database_unavailable" in told.getMessage() and "\n" not in told.getMessage()
    away.dispose()
