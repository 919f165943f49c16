"""A receipt says which key asked for the deletion, and whoever has it can check that offline."""

import json
from pathlib import Path
from typing import Any

import pytest

from app import cli
from app.receipts import body as bodies
from tests.support.keys import by, made, sending
from tests.support.service import Service
from tests.support.signing_keys import key_file

ROOT = Path(__file__).resolve().parents[3]
RECORD = json.loads((ROOT / "tests" / "fixtures" / "version_before.json").read_text())
STORED = [receipt["body"] for receipt in RECORD["shown"]["receipts"]]


def deleted(service: Service, client: Any) -> dict[str, Any]:
    component_id = service.queued(service.dataset({"cat": 2}))
    answer = client.delete(f"/v1/components/{component_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_receipt_has_the_id_of_the_key_and_never_its_name(serve, tmp_path, capsys):
    service = serve(api_key="correct-horse-battery", receipt_key_file=key_file(tmp_path / "k.pem"))
    key = made(service, "train", name="Zoltan")
    with sending(service, key["key"]) as client:
        by_key = deleted(service, client)
    by_settings = deleted(service, service.client)
    assert by_key["body"]["requested_by"] == key["id"]
    assert by_settings["body"]["requested_by"] == "settings"
    assert "Zoltan" not in json.dumps(by_key)
    service.client.delete(f"/v1/keys/{key['id']}")  # what it did stays proved
    for receipt in (by_key, by_settings):
        found = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
        assert found["ok"] and found["signature_ok"], found
    page = service.client.get("/v1/receipts").json()
    public = tmp_path / "public.pem"
    public.write_text(service.client.get("/v1/receipts/key").json()["public_key"])
    (tmp_path / "page.json").write_text(json.dumps(page))
    check = ["verify-receipts", str(tmp_path / "page.json"), "--public-key", str(public)]
    assert cli.main(check) == 0
    assert "2 receipts are valid, 2 signed" in capsys.readouterr().out
    page["data"][0]["body"]["requested_by"] = "settings"  # the blame put on somebody else
    (tmp_path / "page.json").write_text(json.dumps(page))
    assert cli.main(check) == 1
    assert "receipt 1 " in capsys.readouterr().out


def test_without_keys_the_receipt_says_local(service):
    assert deleted(service, service.client)["body"]["requested_by"] == "local"


def test_an_image_s_receipt_has_the_key_too(serve):
    service = serve(api_key="correct-horse-battery")
    dataset = service.dataset({"cat": 3})
    image = service.client.get(f"/v1/datasets/{dataset}/images").json()["data"][0]["id"]
    with by(service, "train") as client:
        receipt = client.delete(f"/v1/datasets/{dataset}/images/{image}").json()
        shown = service.client.get("/v1/keys").json()["data"][0]
    assert receipt["body"]["requested_by"] == shown["id"]


@pytest.mark.parametrize("stored", STORED)
def test_bodies_of_before_are_read_and_written_without_it(stored):
    assert stored["version"] in (1, 2) and "requested_by" not in stored
    assert bodies.written(bodies.read(stored)) == stored


@pytest.mark.parametrize("version", [1, 2])
def test_a_member_that_a_version_does_not_have_is_not_in_it(version):
    read = bodies.read({"version": version, "requested_by": "key_0"})
    assert read.version == version
    assert "requested_by" not in bodies.written(read)
