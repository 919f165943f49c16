"""The worker makes derived components: from files and images, in the trainer, in a real process."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

import tangent
from app.database.sessions import transaction
from app.database.tables import Component, Dataset, Space
from app.errors import Conflict, NotReady
from app.store import components, lineage
from tangent.composition.merging import METHODS, Parent, derive
from tests.support.workers import assert_published_once, status, until
from training_worker.entries import entries
from training_worker.process import TrainerProcess
from training_worker.source import ImageSource
from training_worker.training import Training

on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def queue(store, operator: str, *parents: str, seed: int = 0, **parameters: Any) -> str:
    """Queue a derived component; return its id."""
    dataset_id = store.add_dataset(seed=9) if METHODS[operator].dataset else None
    with transaction(store.sessions) as session:
        return lineage.queue_derivation(
            session,
            store.jobs,
            space=session.get_one(Space, "default"),
            parents=lineage.hold_parents(session, [(each, None) for each in parents]),
            operator=operator,
            parameters=METHODS[operator].resolve(parameters),
            dataset=session.get_one(Dataset, dataset_id) if dataset_id else None,
            name=None,
            seed=seed,
            tags={},
        ).id


def trained(store, tmp_path: Path, count: int = 2, **given: Any) -> list[str]:
    """Train components from datasets of their own; return their ids."""
    training, ids = Training(store.settings), []
    for seed in range(count):
        component_id = store.queue(store.add_dataset(seed=seed), **given)
        publish(store, component_id, run(training, component_id, tmp_path))
        ids.append(component_id)
    return ids


def run(training: Training, component_id: str, tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / component_id
    folder.mkdir(parents=True)
    try:
        return training.run(component_id, folder, lambda _: None)
    finally:
        training.sessions.kw["bind"].engine.dispose()


def publish(store, component_id: str, outcome: dict[str, Any]) -> None:
    key = f"components/{component_id}/x.safetensors"
    store.blobs.put(Path(outcome["file"]), key)
    facts = {name: outcome[name] for name in ("sha256", "bytes", "labels", "metrics")}
    with transaction(store.sessions) as session:
        components.start(session, component_id, executor_id="test")
        assert components.publish(session, component_id, blob_key=key, **facts)


@on_sqlite
@pytest.mark.parametrize("operator", sorted(METHODS.keys() - {"refine"}))  # of block scopes
def test_it_makes_what_the_mathematics_alone_makes(store, tmp_path, opened, operator):
    given = {"loss": "cross_entropy"} if operator == "fisher" else {}  # needs images at any scope
    parents = trained(store, tmp_path, **given)
    component_id = queue(store, operator, *parents, seed=4)

    outcome = run(Training(store.settings), component_id, tmp_path)

    with store.sessions() as session:
        rows = [components.get(session, each) for each in parents]
        row = components.get(session, component_id)
        sources = [images(store, session, opened, each.dataset_id) for each in (*rows, row)]
    made = [
        Parent(tangent.Component.load(store.blobs.path(each.blob_key)), None, source, each.sha256)
        for each, source in zip(rows, sources, strict=False)
    ]
    expected = derive(opened, made[::-1], operator, seed=4, examples=sources[-1]).component
    data = Path(outcome["file"]).read_bytes()
    assert data == expected.to_bytes()
    assert hashlib.sha256(data).hexdigest() == outcome["sha256"]
    assert outcome["labels"] == {"a": 12, "b": 12}


def images(store, session, opened, dataset_id: str | None) -> ImageSource | None:
    if dataset_id is None:
        return None
    pack = store.blobs.path(session.get_one(Dataset, dataset_id).pack_key)
    return ImageSource(entries(session, dataset_id), pack, opened.preprocess, store.settings)


@on_sqlite
def test_how_far_the_reading_is_is_told(store, tmp_path):
    component_id = queue(store, "atlas", *trained(store, tmp_path))
    (tmp_path / component_id).mkdir()
    news: list[dict[str, Any]] = []
    Training(store.settings).run(component_id, tmp_path / component_id, news.append)
    assert [(each["phase"], each["step"], each["total"]) for each in news] == [("features", 12, 12)]


@on_sqlite
def test_a_parent_that_is_not_what_it_was_is_refused(store, tmp_path):
    (parent,) = trained(store, tmp_path, count=1)
    damaged, changed = (queue(store, "ties", parent) for _ in range(2))
    path = store.blobs.path(store.component(parent).blob_key)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(NotReady, match=f"file components/{parent}/.* has sha256") as caught:
        run(Training(store.settings), damaged, tmp_path)
    assert caught.value.code == "component_damaged"
    path.unlink()
    with pytest.raises(NotReady, match=f"file of component {parent} is missing: restore it"):
        run(Training(store.settings), changed, tmp_path / "x")
    with transaction(store.sessions) as session:
        session.get_one(Component, parent).sha256 = "0" * 64
    with pytest.raises(Conflict, match="not what it was when") as caught:
        run(Training(store.settings), changed, tmp_path)
    assert caught.value.code == "parent_changed"


@on_sqlite
def test_an_error_of_the_operator_is_told_with_its_code(store, tmp_path):
    (parent,) = trained(store, tmp_path, count=1)
    component_id = queue(store, "atlas", parent, l2=0.0, objective="squared")
    with transaction(store.sessions) as session:
        session.get_one(Component, component_id).derived = {"operator": "soup", "parameters": {}}

    async def told() -> dict[str, Any]:
        trainer = TrainerProcess(store.settings)
        (tmp_path / component_id).mkdir()
        message = await trainer.train(component_id, tmp_path / component_id, print)
        await trainer.stop()
        return message

    message = asyncio.run(told())
    assert (message["type"], message["code"]) == ("failed", "unknown_operator")
    assert "no operator is called 'soup'" in message["detail"]


def test_a_worker_process_publishes_a_derived_component_once(store, tmp_path, start):
    parents = trained(store, tmp_path)
    component_id = queue(store, "ties", *parents)
    start()
    until(lambda: status(store, component_id, "ready", "failed"))
    assert_published_once(store, component_id, attempts=1)
    found = tangent.Component.load(store.blobs.path(store.component(component_id).blob_key))
    assert found.derived is not None and found.derived.operator == "ties"
