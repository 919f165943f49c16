"""A service that answers in 16 bits: its answers, beside files and calibrations in 32."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.client import delete, verify
from tests.support.images import image
from tests.support.service import Service
from tests.support.unlearning import probe_of

PNG = {"Content-Type": "image/png"}
COUNTS = {"cat": 20, "dog": 20}


@pytest.fixture(scope="module")
def asked() -> list[bytes]:
    return [image(label, number) for label in COUNTS for number in range(900, 904)]


def answers(service: Service, pictures: list[bytes]) -> list[dict[str, Any]]:
    found = []
    for picture in pictures:
        answer = service.client.post("/v1/predictions", content=picture, headers=PNG)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
    return found


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_answers_in_16_bits_rest_on_the_files_and_the_calibration_of_32(
    serve: Callable[..., Service], trained_twice: None, asked: list[bytes], precision: str
) -> None:
    """The same components and temperature; novelty and probabilities moved by rounding."""
    full, some = serve(), serve(precision=precision)
    for each in full, some:
        each.component(COUNTS)
    hashes = [s.client.get("/v1/components").json()["data"][0]["sha256"] for s in (full, some)]
    assert hashes[0] == hashes[1]
    shown = [s.client.get("/v1/spaces/default").json() for s in (full, some)]
    assert [each["precision"] for each in shown] == ["float32", precision]
    assert shown[0]["fingerprint"] == shown[1]["fingerprint"]
    for one, other in zip(answers(full, asked), answers(some, asked), strict=True):
        assert one["calibration"] == other["calibration"]
        (expected,), (found,) = one["results"], other["results"]
        assert found["label"] == expected["label"]
        assert abs(found["novelty"] - expected["novelty"]) <= 0.1  # four of 40 training images
        pairs = zip(found["predictions"], expected["predictions"], strict=True)
        gaps = [abs(a["probability"] - b["probability"]) for a, b in pairs]
        assert 0 < max(gaps) <= 0.02


def test_a_probe_names_the_precision_that_was_used_and_a_deletion_is_verified_in_it(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` is no precision: what it became is."""
    monkeypatch.setattr("tangent.spaces.space.products", lambda device, clock: 2.0)
    made = {name: serve(precision=name) for name in ("bfloat16", "auto")}
    for service in made.values():
        service.component({"cat": 3, "dog": 2})
    probes = {name: probe_of(service, "default") for name, service in made.items()}
    environments = {name: probe["environment"]["precision"] for name, probe in probes.items()}
    assert environments == {"bfloat16": "bfloat16", "auto": "float32"}
    hashes = {probe["logits_sha256"] for probe in probes.values()}
    assert len(hashes) == 2
    gone = made["bfloat16"].component({"dog": 3, "yak": 2}, 20)
    receipt = delete(made["bfloat16"], f"components/{gone}", probe="true")
    assert verify(made["bfloat16"], receipt)["probe_ok"] is True
    (after,) = receipt["body"]["probes"]
    assert after["logits_sha256"] == probes["bfloat16"]["logits_sha256"]


def test_images_leave_a_component_of_a_service_in_16_bits_as_they_do_in_32(
    serve: Callable[..., Service], trained_twice: None
) -> None:
    """The share that is subtracted is measured by the backbone itself."""
    hashes = set()
    for precision in ("float32", "bfloat16"):
        service = serve(precision=precision)
        service.component({"cat": 4, "dog": 4})
        dataset = service.client.get("/v1/datasets").json()["data"][0]["id"]
        pictures = service.client.get(f"/v1/datasets/{dataset}/images").json()["data"]
        answer = service.client.delete(f"/v1/datasets/{dataset}/images/{pictures[0]['id']}")
        assert answer.status_code == 200, answer.text
        row = service.client.get("/v1/components").json()["data"][0]
        assert row["status"] == "ready"
        hashes.add(row["sha256"])
    assert len(hashes) == 1
