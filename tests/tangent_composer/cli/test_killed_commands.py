"""A command that is killed and given again: one dataset, one component."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.images import archive
from tests.support.relay import Relay, relay
from tests.support.workers import until

COMMAND = [sys.executable, "-m", "tangent_composer.cli"]


@pytest.fixture
def between(service) -> Iterator[Relay]:
    """A relay to the service."""
    with relay(service.url) as made:
        yield made


def started(url: str, *arguments: object) -> "subprocess.Popen[str]":
    environment = os.environ | {"TANGENT_URL": url}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], env=environment, **pipes)


def killed(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    process.communicate()


def answer(url: str, *arguments: object) -> dict:
    process = started(url, *arguments, "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.parametrize("when", ["in the middle of the file", "before the answer comes"])
def test_a_killed_upload_given_again_makes_one_dataset(service, client, between, tmp_path, when):
    file = tmp_path / f"{when}.zip"
    file.write_bytes(archive({"cat": 40}, start=500 if "middle" in when else 600))
    if "middle" in when:
        between.most = file.stat().st_size // 2
        first = started(between.url, "upload", file)
        assert between.sent.wait(60)
    else:
        between.holds_answers = True
        first = started(between.url, "upload", file)
        assert between.answered.wait(60)
    killed(first)

    again = answer(service.url, "upload", file)
    once_more = answer(service.url, "upload", file)

    assert again["id"] == once_more["id"]
    assert [each.id for each in client.datasets.each(name=again["name"])] == [again["id"]]


def test_a_killed_wait_given_again_makes_one_component(service, client, tmp_path):
    file = tmp_path / "pets.zip"
    file.write_bytes(archive({"cat": 4, "dog": 4}, start=700))
    first = started(service.url, "train", file)
    until(lambda: any(each.name == "pets" for each in client.components.each()))
    killed(first)
    waiting = started(service.url, "train", file, "--json")
    component = next(each for each in client.components.each() if each.name == "pets")
    service.train(component.id)
    out, err = waiting.communicate(timeout=60)

    assert waiting.returncode == 0, err
    shown = json.loads(out)
    assert (shown["id"], shown["status"]) == (component.id, "ready")
    assert len([each for each in client.components.each() if each.name == "pets"]) == 1
    assert len([each for each in client.datasets.each() if each.name == "pets"]) == 1
