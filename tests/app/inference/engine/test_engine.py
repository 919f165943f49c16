"""The engine's memory: deltas by content, dropped when any process deletes a component."""

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import torch

import tangent
from app.database.sessions import transaction
from app.inference.engine.composed_deltas import COPIES, key_of
from app.inference.engine.engine import Engine
from app.inference.engine.values import nothing
from app.inference.models import Model, SpaceKey
from app.store import compositions
from tangent.components.source import Source
from tangent.composition.incremental import IncrementalComposition
from tests.support.held_passes import HeldPasses
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

PNG = {"Content-Type": "image/png"}


def predict(service: Service, label: str = "cat", query: str = "") -> httpx.Response:
    return service.client.post(f"/v1/predictions{query}", content=image(label, 77), headers=PNG)


def used(answer: httpx.Response) -> set[str]:
    """Return the ids of the components behind the answer."""
    assert answer.status_code == 200, answer.text
    return {part["id"] for part in answer.json()["components"]}


def count(service: Service, name: str) -> float:
    lines = service.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def cache(service: Service) -> tuple[float, float, float]:
    """Return the hits, misses and evictions so far."""
    prefix = "tangent_composition_cache"
    hits, misses = count(service, f"{prefix}_hits_total"), count(service, f"{prefix}_misses_total")
    return hits, misses, count(service, f"{prefix}_evictions_total")


def test_a_composition_is_composed_once_however_it_is_named(service: Service) -> None:
    one, two = service.component({"cat": 2}), service.component({"dog": 2})
    members = [{"id": one}, {"id": two}]
    body = {"rule": "joint", "components": members}
    assert service.client.put("/v1/compositions/both", json=body).is_success
    for query in ("", f"?components={two},{one}", "?composition=both", "?space=default&rule=joint"):
        assert used(predict(service, query=query)) == {one, two}
    assert cache(service) == (3, 1, 0)
    predict(service, query="?rule=average")
    predict(service, query=f"?components={one}")
    assert cache(service) == (3, 3, 0)


def test_the_longest_unused_composition_makes_room(serve: Callable[..., Service]) -> None:
    pair = delta_bytes(labels=2)
    service = serve(composition_bytes=pair + delta_bytes(labels=1))  # any two of these three
    one, two = service.component({"cat": 2}), service.component({"dog": 2})
    for wanted in (one, two, one, f"{one},{two}", one, two):
        predict(service, query=f"?components={wanted}")
    assert cache(service) == (2, 4, 2)


def delta_bytes(labels: int) -> int:
    """Return the bytes of a delta with so many labels in the default space."""
    width = tangent.open_space("resnet_micro_32", "head2toe").readout_width
    return COPIES * 8 * labels * width


def model(service: Service, *ids: str, rule: str = "average") -> Model:
    with transaction(service.state.reading) as session:
        found = compositions.resolve(session, None, None, [(part, None) for part in ids], rule)
        return service.state.spaces.model(found.space, found.members, rule)


def test_a_deletion_drops_the_deltas_with_it_and_no_others(service: Service) -> None:
    one, two = service.component({"cat": 2}), service.component({"dog": 2})
    engine: Engine = service.state.engine
    both, alone = model(service, one, two), model(service, two)
    with_it = weakref.ref(engine.delta(both))
    without = weakref.ref(engine.delta(alone))
    engine.forget([model(service, one).parts[0][0].sha256])
    gc.collect()
    assert with_it() is None
    assert without() is engine.delta(alone)


def test_a_deletion_here_keeps_the_sums_of_the_rest_and_one_elsewhere_does_not(
    service: Service,
) -> None:
    ids = [service.component({label: 2}) for label in ("cat", "dog", "cow", "owl")]
    engine: Engine = service.state.engine
    assert used(predict(service, query="?rule=average")) == set(ids)
    ((_, sums),) = engine._composed._incremental._held.values()
    assert service.client.delete(f"/v1/components/{ids[1]}").status_code == 200
    assert used(predict(service, query="?rule=average")) == {ids[0], ids[2], ids[3]}
    ((members, found),) = engine._composed._incremental._held.values()
    assert found is sums and members.total() == 3
    rest = model(service, ids[0], ids[2], ids[3])
    space = engine.opened(rest.space)
    fresh = IncrementalComposition(engine._loaded.get).compose(space, rest.parts, "average")
    assert torch.equal(engine.delta(rest).head, fresh.head)
    engine.respect(engine._epoch + 1)
    assert not engine._composed._incremental._held


def test_the_key_is_the_content_and_nothing_else(service: Service) -> None:
    one, two = service.component({"cat": 2}), service.component({"dog": 2})
    found = model(service, one, two)
    space = service.state.engine.opened(found.space)
    parts = [(Source("a place", source.sha256), weight) for source, weight in found.parts]
    assert key_of(space, parts, "joint") == key_of(space, parts[::-1], "joint")
    assert key_of(space, parts, "joint") != key_of(space, parts, "average")
    heavier = [(source, 2.0) for source, _ in parts]
    assert key_of(space, parts, "joint") != key_of(space, heavier, "joint")
    assert "a place" not in str(key_of(space, parts, "joint"))


def test_a_component_file_that_was_changed_does_not_answer(service: Service) -> None:
    part = service.component({"cat": 2})
    (path,) = (service.settings.data_dir / "blobs" / "components" / part).iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    document = problem(predict(service), 503, "component_damaged")
    assert "restore the file" in document["detail"]


def test_a_component_file_that_is_missing_does_not_answer(service: Service) -> None:
    part = service.component({"cat": 2})
    (path,) = (service.settings.data_dir / "blobs" / "components" / part).iterdir()
    path.unlink()
    document = problem(predict(service), 503, "component_damaged")
    assert "is missing" in document["detail"]


def test_another_process_deletion_empties_this_ones_memory(serve: Callable[..., Service]) -> None:
    first = serve()
    one, two = first.component({"cat": 2}), first.component({"dog": 2})
    second = serve(data_dir=first.settings.data_dir)
    assert used(predict(first)) == used(predict(second)) == {one, two}
    assert second.client.delete(f"/v1/components/{one}").status_code == 200
    assert first.client.get("/readyz").json()["epoch"] == 1
    assert count(first, "tangent_composition_cache_evictions_total") == 1
    assert used(predict(first)) == used(predict(second)) == {two}


def test_another_process_deletion_during_the_forward_pass_is_noticed(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = serve()
    one, two = first.component({"cat": 2}), first.component({"dog": 2})
    second = serve(data_dir=first.settings.data_dir)
    held = HeldPasses(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(predict, first)
        held.wait_for_one()
        assert second.client.delete(f"/v1/components/{one}").status_code == 200
        held.go.set()
        answer = asked.result(60)
    assert len(held.begun) == 2
    assert used(answer) == {two}
    labels = {each["label"] for each in answer.json()["results"][0]["predictions"]}
    assert labels == {"dog"}


def test_what_an_overtaken_prediction_has_loaded_again_is_forgotten_with_its_files(
    service: Service,
) -> None:
    one, two = service.component({"cat": 2}), service.component({"dog": 2})
    both, engine = model(service, one, two), service.state.engine
    gone = [model(service, one).parts[0][0].sha256]
    for bring_back in (lambda: engine.compose(both), lambda: None):
        engine.compose(both)
        engine.forget(gone)
        bring_back()
        kept = engine.begins_at_once(both)
        engine.forget_what_came_back(gone)
        assert not engine.begins_at_once(both)
        assert not engine._composed.holds(gone) and not engine._loaded.holds(gone)
    assert not kept


def test_the_canary_runs_only_where_no_answer_was_given_lately(service: Service) -> None:
    name = "tangent_inference_forward_seconds_count"
    service.client.get("/readyz")
    before = count(service, name)
    assert before == 1  # that of the start
    service.client.get("/readyz")
    assert count(service, name) == before
    service.state.engine._forwarded_at = float("-inf")
    ready = service.client.get("/readyz")
    assert count(service, name) == before + 1
    assert ready.json()["checks"]["forward"]["ok"]


def test_a_model_that_fails_makes_the_service_unready_but_alive(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: Any) -> None:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(service.state.engine.batches, "run", broken)
    service.state.engine._forwarded_at = float("-inf")
    ready = service.client.get("/readyz")
    assert ready.status_code == 503
    checks = ready.json()["checks"]
    assert [checks[name]["ok"] for name in ("database", "space", "forward")] == [True, True, False]
    assert service.client.get("/livez").status_code == 200


@pytest.mark.parametrize("scope", ["head", "head2toe", "last-block"])
def test_the_zero_delta_fits_every_scope(service: Service, scope: str) -> None:
    engine: Engine = service.state.engine
    space = engine.opened(SpaceKey("vit_micro_32", scope, (), "float32"))
    delta = nothing(space)
    logits = space.logits(torch.zeros(1, 3, 32, 32), delta)
    assert logits.shape == (1, 1) and torch.isfinite(logits).all()
    assert all(not tensor.any() for tensor in delta.tensors().values())
