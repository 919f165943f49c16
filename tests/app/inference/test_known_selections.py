"""Known selections: their predictions ask the database nothing, and miss no change."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from app.access.callers import Caller
from app.database import postgres_connections, selection_version
from app.database.sessions import transaction, with_info
from app.inference import known_selections
from app.settings import Settings
from app.store import components
from tangent_composer.schemas.predictions import SelectionQuery
from tests.support.client import compose
from tests.support.cut_lines import proxied
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import KEY_FREE, Service, running

SCOPE = "head"
PNG = {"Content-Type": "image/png"}
WATCHES = ("lease", "selection-watch")  # threads that ask the database whatever is predicted

Serve = Callable[..., Service]


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements that the block's requests send to a database."""
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_more) -> None:
        if threading.current_thread().name not in WATCHES:
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def ask(service: Service, query: str = "") -> Any:
    return service.client.post(f"/v1/predictions{query}", content=image("cat", 90), headers=PNG)


def used(service: Service, query: str = "") -> set[str]:
    answer = ask(service, query)
    assert answer.status_code == 200, answer.text
    return {part["id"] for part in answer.json()["components"]}


@pytest.fixture
def second(serve: Serve, either: Service) -> Service:
    """Another process's service on the same database and files."""
    return serve(**either.settings.model_dump(exclude={"port"}))


@pytest.fixture(params=["sqlite", "postgres"])
def keyed(request: pytest.FixtureRequest, serve: Serve) -> Service:
    """A service on each kind of database, with a key that is not in the database."""
    postgres = request.param == "postgres"
    url = request.getfixturevalue("postgres") if postgres else None
    return serve(database_url=url, api_key="of the settings")


@pytest.mark.parametrize("query", ["", "?composition=both", "?space=default&rule=average"])
def test_a_prediction_whose_selection_is_known_sends_no_statement(keyed: Service, query: str):
    parts = [keyed.component({label: 2}) for label in ("cat", "dog")]
    compose(keyed, "both", parts)
    assert used(keyed, query) == set(parts)
    with statements() as seen:
        assert used(keyed, query) == set(parts)
    assert seen == []


def test_a_client_reads_its_own_writes(either: Service):
    parts = [either.component({"cat": 2})]
    for label in ("dog", "cow"):
        assert used(either) == set(parts)
        parts.append(either.component({label: 2}))
        assert used(either) == set(parts)
    compose(either, "some", parts[:1])
    assert used(either, "?composition=some") == {parts[0]}
    compose(either, "some", parts[1:])
    assert used(either, "?composition=some") == set(parts[1:])
    assert either.client.delete("/v1/compositions/some").status_code == 204
    problem(ask(either, "?composition=some"), 404, "composition_not_found")
    assert either.client.delete(f"/v1/components/{parts[0]}").status_code == 200
    assert used(either) == set(parts[1:])


def test_what_another_process_has_made_answers_whoever_saw_it_here(
    either: Service, second: Service
):
    parts = {either.component({"cat": 2})}
    for label in ("dog", "cow", "hen", "owl"):
        assert used(either) == parts
        made = second.component({label: 2})
        assert either.client.get(f"/v1/components/{made}").json()["status"] == "ready"
        parts.add(made)
        assert used(either) == parts


def test_what_another_process_has_made_answers_soon_if_nobody_looks(
    either: Service, second: Service
):
    parts = {either.component({"cat": 2})}
    assert used(either) == parts
    parts.add(second.component({"dog": 2}))
    end = time.monotonic() + 60
    while used(either) != parts:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_sqlite_tells_of_every_commit_at_once(serve: Serve):
    first = serve()
    second = serve(data_dir=first.settings.data_dir)
    parts = {first.component({"cat": 2})}
    for label in ("dog", "cow", "hen"):
        assert used(first) == parts
        parts.add(second.component({label: 2}))
        assert used(first) == parts


def test_a_selection_is_known_to_those_who_may_see_its_space_only(either: Service):
    state = either.state
    either.component({"cat": 2})
    body = {"name": "mine", "backbone": "resnet_micro_32", "scope": "head"}
    assert either.client.post("/v1/spaces", json=body).status_code == 201
    part = either.component({"dog": 2}, space="mine")
    with transaction(state.sessions) as session:
        known_selections.compositions.spaces.get(session, "mine").owner = "key_owner"
    query = SelectionQuery(space="mine")

    def found(key_id: str) -> list[str]:
        caller = Caller(key_id, frozenset({"predict"}))
        _, selection = state.selections.find(with_info(state.reading, caller=caller), query)
        return [each.id for each, _ in selection.members]

    for _ in range(2):
        assert found("key_owner") == [part]
        with pytest.raises(known_selections.compositions.NotFound, match="mine"):
            found("key_other")


def test_progress_changes_no_selection(either: Service):
    state = either.state
    component_id = either.queued(either.dataset({"cat": 2}))
    with transaction(state.sessions) as session:
        components.start(session, component_id, executor_id="test")
    before = version(either)
    with transaction(state.sessions) as session:
        assert components.progress(session, component_id, {"step": 1})
    assert version(either) == before
    either.train(component_id)
    assert version(either) > before


def version(service: Service) -> int:
    with transaction(service.state.reading) as session:
        return selection_version.read(session)


def test_the_memory_of_selections_is_bounded(service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(known_selections, "MAX_MEMBERS", 3)
    parts = [service.component({label: 2}) for label in ("cat", "dog")]
    for weights in ((1, 2), (3, 4), (5, 6)):
        named = [{"id": part, "weight": w} for part, w in zip(parts, weights, strict=True)]
        compose(service, f"of-{weights[0]}", named, "weighted")
        assert used(service, f"?composition=of-{weights[0]}") == set(parts)
    assert service.state.selections._members <= 3


def test_known_selections_answer_without_a_database_while_the_lease_holds(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres_connections, "CONNECT_SECONDS", 2)
    given = KEY_FREE | {"device": "cpu", "threads": 1, "data_dir": tmp_path, "scope": SCOPE}
    given |= {"api_key": "of the settings"}  # other keys are in the database
    given |= {"database_timeout_seconds": 0.3, "lease_seconds": 5}
    with (
        proxied(postgres) as (url, cut),
        running(Settings(**given | {"database_url": url})) as service,
    ):
        part = service.component({"cat": 2})
        assert used(service) == {part}
        with cut.frozen():
            assert used(service) == {part}
            end = time.monotonic() + 60
            while (answer := ask(service)).status_code == 200:
                assert time.monotonic() < end
            problem(answer, 503, "lease_expired")
