"""Every change by a request stands in the audit log: who, what, which ids; never a name."""

import json
import re
import subprocess
from collections.abc import Callable

import pytest

from app import cli
from app.database.audit import name_hash
from tests.support.client import WAIT, compose, predict
from tests.support.images import archive
from tests.support.keys import by, made, wait_for
from tests.support.problems import problem
from tests.support.service import Service

SECRET = "Zoltan"  # a name that must not be in the log
ME = f"command:{subprocess.check_output(['id', '-un'], text=True).strip()}"


def log(service: Service, query: str = "") -> list[dict]:
    return service.client.get(f"/v1/audit{query}").json()["data"]


@pytest.fixture
def guarded(serve: Callable[..., Service]) -> Service:
    return serve(api_key="correct-horse-battery")


def test_every_kind_of_change_is_in_the_log_with_its_ids(service: Service):
    client = service.client
    files = {"file": ("images.zip", archive({SECRET: 6, "dog": 6}), "application/zip")}
    dataset = client.post("/v1/datasets", files=files, data={"name": SECRET}).json()["id"]
    component = service.train(service.queued(dataset, name=SECRET))
    composition = compose(service, SECRET, [component])
    body = {"dataset_id": dataset, "components": [{"id": component}]}
    evaluation = client.post("/v1/evaluations", json=body, headers=WAIT).json()["id"]
    file = client.get(f"/v1/components/{component}/delta").content
    imported = client.post(
        "/v1/components/import", files={"file": (SECRET, file)}, data={"allow_duplicate": "true"}
    ).json()["id"]
    space = {"name": f"of-{SECRET}", "backbone": "resnet_micro_32", "scope": "head"}
    assert client.post("/v1/spaces", json=space).status_code == 201
    queued = service.queued(dataset)
    client.post(f"/v1/components/{queued}/cancel")
    relabelled = client.post(
        f"/v1/datasets/{dataset}/labels", json={"rename": {SECRET: "cat"}}
    ).json()["receipt"]["id"]
    image = client.get(f"/v1/datasets/{dataset}/images").json()["data"][0]["id"]
    without = client.delete(f"/v1/datasets/{dataset}/images/{image}").json()["id"]
    client.delete(f"/v1/compositions/{SECRET}")
    unlearned = client.delete(f"/v1/components/{imported}").json()["id"]
    gone = client.delete(f"/v1/datasets/{dataset}?cascade=true").json()["id"]
    composed = name_hash("composition", SECRET)
    assert composition["name"] == SECRET
    found = [(entry["action"].split(" /v1/"), set(entry["objects"])) for entry in log(service)]
    assert [(method, path, ids) for (method, path), ids in found] == [
        ("POST", "datasets", {dataset}),
        ("POST", "components", {component}),
        ("PUT", "compositions/{name}", {composed}),
        ("POST", "evaluations", {evaluation}),
        ("POST", "components/import", {imported}),
        ("POST", "spaces", {name_hash("space", f"of-{SECRET}")}),
        ("POST", "components", {queued}),
        ("POST", "components/{component_id}/cancel", {queued}),
        ("POST", "datasets/{dataset_id}/labels", {dataset, relabelled}),
        ("DELETE", "datasets/{dataset_id}/images/{image_id}", {dataset, image, without}),
        ("DELETE", "compositions/{name}", {composed}),
        ("DELETE", "components/{component_id}", {imported, unlearned}),
        ("DELETE", "datasets/{dataset_id}", {dataset, gone}),
    ]
    assert {entry["key_id"] for entry in log(service)} == {"local"}
    assert SECRET not in json.dumps(log(service))


def test_the_log_names_the_key_and_the_request(guarded: Service):
    with by(guarded, "train", "read") as client:
        files = {"file": ("images.zip", archive({"cat": 2}), "application/zip")}
        answer = client.post("/v1/datasets", files=files, headers={"X-Request-Id": "mine-1"})
    entries = log(guarded)
    assert entries[0]["key_id"] == "settings"
    assert entries[0]["action"] == "POST /v1/keys"
    assert entries[1]["key_id"] == entries[0]["objects"][0]
    assert entries[1]["objects"] == [answer.json()["id"]]
    assert entries[1]["request_id"] == "mine-1"
    assert log(guarded, f"?key_id={entries[1]['key_id']}") == entries[1:]


def test_what_changes_nothing_is_not_in_the_log(service: Service):
    component = service.component({"cat": 6, "dog": 6})
    receipt = service.client.delete(f"/v1/components/{component}").json()["id"]
    service.component({"cat": 6, "dog": 6})
    before = log(service)
    assert predict(service).status_code == 200
    service.client.post(f"/v1/receipts/{receipt}/verify")
    service.client.delete("/v1/components/none")
    service.client.post("/v1/components", json={"dataset_id": "none"})
    assert log(service) == before


def test_a_repeated_request_changes_nothing_more(service: Service):
    for _ in range(2):
        files = {"file": ("images.zip", archive({"cat": 2}), "application/zip")}
        head = {"Idempotency-Key": "once"}
        assert service.client.post("/v1/datasets", files=files, headers=head).status_code == 201
    assert len(log(service)) == 1


def test_making_and_revoking_keys_is_in_the_log(guarded: Service):
    key = made(guarded, "read", name=SECRET)
    for _ in range(2):  # the second changes nothing
        guarded.client.delete(f"/v1/keys/{key['id']}")
    entries = log(guarded)
    assert [entry["action"] for entry in entries] == ["POST /v1/keys", "DELETE /v1/keys/{key_id}"]
    assert [entry["objects"] for entry in entries] == [[key["id"]], [key["id"]]]
    assert SECRET not in json.dumps(entries)


def test_the_log_has_pages(service: Service):
    for start in range(3):
        service.dataset({"cat": 2}, start)
    page = service.client.get("/v1/audit?limit=2").json()
    rest = service.client.get(f"/v1/audit?after={page['next']}").json()
    assert page["has_more"] and not rest["has_more"]
    assert page["data"] + rest["data"] == log(service)


def test_the_log_is_for_administrators(guarded: Service):
    with by(guarded, "read", "predict", "train") as client:
        problem(client.get("/v1/audit"), 403, "scope_missing")


def test_the_command_prints_the_log_and_adds_what_commands_do(service: Service, capsys):
    folder = str(service.settings.data_dir)
    dataset = service.dataset({"cat": 2})
    assert cli.main(["keys", "create", "--name", SECRET, "--scopes", "admin", "--json",
                     "--data-dir", folder]) == 0  # fmt: skip
    key = json.loads(capsys.readouterr().out)
    assert cli.main(["audit", "--data-dir", folder]) == 0
    lines = [line.split("\t")[1:4] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["local", "POST /v1/datasets", dataset],
        [ME, "tangent keys create", key["id"]],
    ]
    assert cli.main(["audit", "--key", ME, "--data-dir", folder]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert cli.main(["audit", "--json", "--data-dir", folder]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    service.client.headers["Authorization"] = f"Bearer {key['key']}"
    service.state.admission.keyring.forget()
    assert printed == log(service)


def test_the_log_of_requests_has_the_key_s_id(guarded: Service, caplog):
    key = made(guarded, "read")
    guarded.client.headers["Authorization"] = f"Bearer {key['key']}"
    with caplog.at_level("INFO", logger="access"):
        guarded.client.get("/v1/spaces/secret-name", headers={"X-Request-Id": "r-7"})
        guarded.client.get("/livez")
        wait_for(lambda: "GET /livez" in caplog.text)  # a line follows the answer
    lines = [record.getMessage() for record in caplog.records if record.name == "access"]
    asked, probed = [line for line in lines if not line.startswith("POST")]  # the key's may be late
    assert re.fullmatch(rf"GET /v1/spaces/\{{name\}} 404 in [\d.]+ ms by {key['id']}", asked)
    assert re.fullmatch(r"GET /livez 200 in [\d.]+ ms by nobody", probed)
    assert "secret-name" not in caplog.text and key["key"] not in caplog.text
