"""Receipts of a dataset that stays: signed, probed and verified as those of whole deletions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tangent_composer.receipts import signatures
from tests.support.archives import archive
from tests.support.client import delete, upload, verify
from tests.support.images import image, packed
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.signing_keys import key_file
from tests.support.unlearning import FILES, SPACES, WITHOUT, image_id, probe_of

Serve = Callable[..., Service]


@pytest.fixture(params=["sqlite", "postgres"])
def signing(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Service:
    """A service with a key, on each kind of database."""
    settings = {"receipt_key_file": key_file(tmp_path / "key.pem")}
    if request.param == "postgres":
        settings["database_url"] = request.getfixturevalue("postgres")
    return serve(**settings)


def check_sealed(service: Service, receipt: dict[str, Any]) -> None:
    """The signature is by the service's key over this receipt of version 3."""
    shown = service.client.get("/v1/receipts/key").json()
    assert receipt["key_id"] == shown["key_id"]
    signatures.public_key(shown["public_key"]).verify(
        bytes.fromhex(receipt["signature"]), f"tangent-composer receipt {receipt['hash']}".encode()
    )
    body = receipt["body"]
    assert (body["version"], body["epoch"]) == (3, receipt["number"])
    assert body["requested_at"] < receipt["created_at"]
    assert {"code", "environment", "not_covered", "components"} <= set(body)


def check_holds(service: Service, receipt: dict[str, Any], probe_ok: bool | None = True) -> None:
    found = verify(service, receipt)
    assert found["ok"] and found["manifest_ok"] and found["files_ok"], found
    assert found["probe_ok"] is probe_ok


def relabel(service: Service, dataset_id: str, key: str = "k", **query: str) -> Any:
    return service.client.post(
        f"/v1/datasets/{dataset_id}/labels",
        json={"rename": {"cat": "lynx"}},
        params=query,
        headers={"Idempotency-Key": key},
    )


def test_an_images_receipt_is_signed_and_its_probe_is_that_of_a_world_without_the_image(
    signing, serve
):
    dataset_id = upload(signing, packed(FILES))["id"]
    signing.train(signing.queued(dataset_id))
    kept = signing.component({"cow": 3})
    before = probe_of(signing, "default")
    path = f"datasets/{dataset_id}/images/{image_id(signing, dataset_id)}"

    receipt = delete(signing, f"{path}?probe=true")

    (outcome,) = receipt["body"]["components"]
    assert outcome["outcome"] == "down_dated"
    check_sealed(signing, receipt)
    check_holds(signing, receipt)
    (probe,) = receipt["body"]["probes"]
    assert probe["logits_sha256"] != before["logits_sha256"]
    never = serve()
    never.component({"cow": 3})
    never.train(never.queued(upload(never, packed(WITHOUT))["id"]))
    assert probe == probe_of(never, "default")
    delete(signing, f"components/{kept}")
    found = verify(signing, receipt)
    assert (found["ok"], found["signature_ok"], found["manifest_ok"]) == (True, True, None)


def test_a_renamings_receipt_is_signed_and_its_probe_is_that_of_an_upload_with_the_names(
    signing, serve
):
    dataset_id = upload(signing, packed(FILES))["id"]
    signing.train(signing.queued(dataset_id))

    answer = relabel(signing, dataset_id, probe="true")

    receipt = answer.json()["receipt"]
    assert receipt["body"]["components"][0]["outcome"] == "relabelled"
    check_sealed(signing, receipt)
    check_holds(signing, receipt)
    again = relabel(signing, dataset_id, probe="true")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["receipt"] == receipt
    problem(relabel(signing, dataset_id), 422, "idempotency_key_reused")
    never = serve()
    files = {f"{name}/{old}-{n}.png": image(old, n) for name, old, n in as_named()}
    made = never.client.post("/v1/datasets", files={"file": ("a.zip", archive(files))})
    never.train(never.queued(made.json()["id"]))
    assert receipt["body"]["probes"] == [probe_of(never, "default")]


def as_named() -> list[tuple[str, str, int]]:
    """Each image's label after the renaming, and its content."""
    return [("lynx" if label == "cat" else label, label, number) for label, number in FILES]


def test_a_revision_without_a_probe_has_none(service):
    dataset_id = upload(service, packed(FILES))["id"]
    service.train(service.queued(dataset_id))

    receipt = delete(service, f"datasets/{dataset_id}/images/{image_id(service, dataset_id)}")

    assert receipt["body"]["probes"] is None
    assert "signature" not in receipt
    check_holds(service, receipt, None)


def test_a_probe_is_of_what_answers_while_a_component_is_trained_anew_and_holds_afterwards(service):
    service.client.post("/v1/spaces", json={"name": "blocks"} | SPACES["blocks"])
    dataset_id = upload(service, packed(FILES))["id"]
    component_id = service.train(service.queued(dataset_id, space="blocks"))
    service.component({"cow": 3}, space="blocks")
    path = f"datasets/{dataset_id}/images/{image_id(service, dataset_id)}"

    receipt = delete(service, f"{path}?probe=true")

    assert receipt["body"]["components"][0]["outcome"] == "retraining"
    assert receipt["body"]["probes"] == [probe_of(service, "blocks")]
    assert receipt["body"]["probes"][0]["components"] == 1
    check_holds(service, receipt)
    service.train(component_id)
    assert probe_of(service, "blocks")["components"] == 2
    check_holds(service, receipt)


@pytest.mark.parametrize("edit", ["removal", "renaming"])
def test_a_revision_whose_probe_cannot_be_answered_changes_nothing(service, edit):
    dataset_id = upload(service, packed(FILES))["id"]
    component_id = service.train(service.queued(dataset_id))
    other = service.component({"cow": 3})
    shown = service.client.get(f"/v1/components/{component_id}").json()
    blobs = service.state.blobs
    (key,) = blobs.keys(f"components/{component_id}")
    damaged = blobs.path(next(blobs.keys(f"components/{other}")))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    path = f"/v1/datasets/{dataset_id}/images/{image_id(service, dataset_id)}"

    if edit == "removal":
        answer = service.client.delete(f"{path}?probe=true")
    else:
        answer = relabel(service, dataset_id, probe="true")

    assert "nothing was changed" in problem(answer, 503, "probe_failed")["detail"]
    assert service.client.get(f"/v1/components/{component_id}").json() == shown
    assert list(blobs.keys(f"components/{component_id}")) == [key]
    assert service.client.get("/v1/receipts").json()["data"] == []
    assert service.client.get(path).status_code == 200
    assert relabel(service, dataset_id, probe="false").status_code == 200
