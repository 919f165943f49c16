"""Probes: what remained answers as in a world that never had the rest, and verify asks it again."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import text

import tangent
from app.database.sessions import transaction
from app.receipts.answer_hash import AnswerHashes
from app.settings import Settings
from tests.support.client import delete, verify
from tests.support.problems import problem
from tests.support.service import KEY_FREE, Service, running
from tests.support.unlearning import probe_of

Serve = Callable[..., Service]
SPACES = {
    "default": None,
    "blocks": {"backbone": "resnet_micro_32", "scope": "last-block"},
    "averaged": {"backbone": "resnet_micro_32", "scope": "head", "default_rule": "average"},
}


@pytest.fixture(scope="module")
def worlds(
    tmp_path_factory: pytest.TempPathFactory, migrated: Path
) -> Iterator[tuple[Service, Service, dict[str, dict[str, Any]]]]:
    """A service that had B and deleted it, one that never had it, and the receipts' probes."""
    folder = tmp_path_factory.mktemp("worlds")
    settings = []
    for name in ("deleted", "never"):
        shutil.copytree(migrated, folder / name)
        settings.append(Settings(data_dir=folder / name, device="cpu", threads=1, **KEY_FREE))
    with running(settings[0]) as first, running(settings[1]) as second:
        probes = {}
        for space, body in SPACES.items():
            for service in (first, second):
                if body:
                    made = service.client.post("/v1/spaces", json={"name": space} | body)
                    assert made.status_code == 201, made.text
            first.component({"cat": 3, "dog": 2}, space=space)
            gone = first.component({"dog": 3, "yak": 2}, 20, space=space)
            first.component({"cow": 3, "cat": 2}, 40, space=space)
            # The other way round, as order must not matter.
            second.component({"cow": 3, "cat": 2}, 40, space=space)
            second.component({"cat": 3, "dog": 2}, space=space)
            with_it = probe_of(first, space)
            receipt = delete(first, f"components/{gone}", probe="true")
            assert verify(first, receipt)["probe_ok"] is True
            (probes[space],) = receipt["body"]["probes"]
            assert probes[space]["logits_sha256"] != with_it["logits_sha256"]
        yield first, second, probes


@pytest.mark.parametrize("space", SPACES)
def test_a_world_that_never_had_the_component_has_the_same_probe(worlds, space):
    _, never, probes = worlds

    assert probe_of(never, space) == probes[space]


@pytest.mark.parametrize("space", SPACES)
def test_the_files_that_remain_answer_it_without_the_service(worlds, space):
    """`tangent` composes the stored files, and this test hashes their answer itself."""
    first, _, probes = worlds
    listed = first.client.get("/v1/components", params={"space": space}).json()["data"]
    parts = []
    for each in listed:
        (key,) = first.state.blobs.keys(f"components/{each['id']}")
        parts.append((tangent.Component.load(first.state.blobs.path(key)), None))
    shas = [each["sha256"] for each in listed]
    asked = {"backbone": "resnet_micro_32", "scope": "head2toe"} | (SPACES[space] or {})
    rule = asked.pop("default_rule", "average" if space == "blocks" else "joint")
    opened = tangent.open_space(**asked)
    drawn = hashlib.shake_256(b"tangent-composer probe images 1").digest(8 * 3 * 32 * 32)
    images = (np.frombuffer(drawn, np.uint8).reshape(8, 3, 32, 32) / 64 - 2).astype(np.float32)

    delta = tangent.compose(opened, parts, rule, shas=shas)
    logits = opened.logits(torch.from_numpy(images), delta)

    assert probes[space]["rule"] == rule
    assert probes[space]["images"]["sha256"] == hashlib.sha256(images.tobytes()).hexdigest()
    names = json.dumps(delta.labels, separators=(",", ":")).encode()
    expected = hashlib.sha256(names + b"\n" + logits.numpy().tobytes()).hexdigest()
    assert probes[space]["logits_sha256"] == expected


def test_a_probe_tells_of_the_kind_of_machine_and_of_no_content(worlds):
    _, _, probes = worlds
    told = json.dumps(probes)

    for content in ("cat", "dog", "cow", "yak"):
        assert content not in told
    environment = probes["default"]["environment"]
    assert {"python", "platform", "torch", "timm", "passes", "processor"} <= set(environment)
    assert (environment["engine"], environment["precision"]) == ("readout", "float32")


def test_without_the_option_there_is_no_probe_and_no_forward_pass(service, monkeypatch):
    service.component({"cat": 3})
    gone = service.component({"dog": 3})

    def never(*_: Any) -> None:
        raise AssertionError("asked")

    with monkeypatch.context() as patched:
        patched.setattr(service.state.engine.batches, "run", never)
        answer = service.client.delete(f"/v1/components/{gone}")

    assert answer.json()["body"]["probes"] is None
    assert verify(service, answer.json())["probe_ok"] is None


def test_verify_notices_every_way_in_which_a_probe_can_stop_to_hold(service, monkeypatch):
    kept, gone = service.component({"cat": 3, "cow": 2}), service.component({"dog": 3})
    receipt = delete(service, f"components/{gone}", probe="true")
    assert (verify(service, receipt)["ok"], verify(service, receipt)["probe_ok"]) == (True, True)

    later = service.component({"hen": 3})  # what came later is not asked
    assert verify(service, receipt)["probe_ok"] is True

    with monkeypatch.context() as patched:  # other threads may give other last digits
        patched.setattr(torch, "get_num_threads", lambda: 64)
        found = verify(service, receipt)
        assert (found["ok"], found["probe_ok"]) == (True, None)

    first_file = service.state.blobs.path(next(service.state.blobs.keys(f"components/{kept}")))
    good = first_file.read_bytes()
    first_file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    found = verify(service, receipt)
    assert (found["ok"], found["probe_ok"], found["files_ok"]) == (False, False, False)
    first_file.write_bytes(good)
    assert verify(service, receipt)["ok"]

    second = delete(service, f"components/{later}", probe="true")
    found = verify(service, receipt)
    assert (found["ok"], found["probe_ok"]) == (True, True)  # the same components as before
    assert second["body"]["probes"] == receipt["body"]["probes"]
    delete(service, f"components/{kept}", probe="true")
    found = verify(service, receipt)
    assert (found["ok"], found["probe_ok"], found["manifest_ok"]) == (True, None, None)


def test_a_hash_that_was_changed_is_found_by_asking_again(service):
    kept, gone = service.component({"cat": 3}), service.component({"dog": 3})
    receipt = delete(service, f"components/{gone}", probe="true")
    old = receipt["body"]["probes"][0]["logits_sha256"]
    with transaction(service.state.sessions) as session:
        session.execute(
            text("UPDATE receipt SET body = replace(body, :old, :new)"),
            {"old": old, "new": "0" * 64},
        )

    found = verify(service, receipt)

    assert (found["ok"], found["chain_ok"], found["probe_ok"]) == (False, False, False)
    assert kept


def test_an_older_version_s_hash_may_differ_where_penalties_were_chosen_in_another_way(service):
    service.component({"cat": 3})
    gone = service.component({"dog": 3})
    receipt = delete(service, f"components/{gone}", probe="true")
    (probe,) = receipt["body"]["probes"]
    older = {name: told for name, told in probe["environment"].items() if name != "l2_chosen_by"}
    assert older != probe["environment"]
    manifest = next(each["after"] for each in receipt["body"]["manifests"])
    state = service.state

    def holds(taken: dict[str, Any]) -> bool | None:
        hashes = AnswerHashes(state.engine, state.spaces)
        return hashes.holds(state.reading, taken, before=receipt["number"], manifest=manifest)

    averaged = probe | {"rule": "average", "environment": older, "logits_sha256": "0" * 64}
    assert holds(averaged) is False  # no rule that chooses a penalty
    for environment, wrong in ((probe["environment"], False), (older, None)):
        assert holds(probe | {"environment": environment}) is True
        assert holds(probe | {"environment": environment, "logits_sha256": "0" * 64}) is wrong


def test_a_dataset_of_several_spaces_has_a_probe_for_each(service):
    body = {"name": "other", "backbone": "resnet_micro_32", "scope": "head"}
    assert service.client.post("/v1/spaces", json=body).status_code == 201
    dataset_id = service.dataset({"cat": 3})
    for space in ("default", "other"):
        service.train(service.queued(dataset_id, space))
    service.component({"dog": 3}, space="other")

    receipt = delete(service, f"datasets/{dataset_id}", cascade="true", probe="true")

    first, second = receipt["body"]["probes"]
    assert (first["space"], first["components"], first["logits_sha256"]) == ("default", 0, None)
    assert (second["space"], second["components"]) == ("other", 1)
    assert second == probe_of(service, "other")
    assert verify(service, receipt)["probe_ok"] is True
    bare = delete(service, f"datasets/{service.dataset({'cat': 2})}", probe="true")
    assert bare["body"]["probes"] == []
    assert verify(service, bare)["probe_ok"] is None


def test_a_probe_that_cannot_be_answered_deletes_nothing(service):
    kept, gone = service.component({"cat": 3}), service.component({"dog": 3})
    path = service.state.blobs.path(next(service.state.blobs.keys(f"components/{kept}")))
    good = path.read_bytes()
    path.write_bytes(good[:-1])

    refused = service.client.delete(f"/v1/components/{gone}?probe=true")

    document = problem(refused, 503, "probe_failed")
    assert "nothing was changed: repeat without probe=true" in document["detail"]
    assert service.client.get(f"/v1/components/{gone}").json()["status"] == "ready"
    assert service.client.get("/v1/receipts").json()["data"] == []
    assert service.client.get(f"/v1/components/{kept}").json()["status"] == "failed"  # and says so
    assert service.client.delete(f"/v1/components/{gone}").status_code == 200
