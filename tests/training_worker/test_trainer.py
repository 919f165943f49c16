"""The trainer process alone: its protocol, and its death with the process that started it."""

import asyncio
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tangent
from training_worker import trainer
from training_worker.fitting import Reporter
from training_worker.process import TrainerDied, TrainerProcess

on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def gone(pid: int) -> bool:
    """Return True if no process has this id, or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def test_the_time_left_is_told_of_a_number_of_steps_that_will_be_done(monkeypatch):
    clock = iter(range(10, 1000, 10))
    monkeypatch.setattr("training_worker.fitting.monotonic", lambda: next(clock))
    told = []
    report = Reporter(told.append)
    for phase, early in (("features", False), ("solve", True)):
        for step in (0, 1, 2):
            report(tangent.Progress(phase, step, 4, ends_early=early))
    assert [each["eta_seconds"] for each in told] == [None, 30, 20, None, None, None]


@on_sqlite
def test_one_process_trains_one_component_after_another(store, tmp_path):
    async def both() -> tuple[list[dict], list[dict], set]:
        trainer, news, pids, messages = TrainerProcess(store.settings), [], set(), []
        for component_id in (store.queue(), store.queue()):
            (tmp_path / component_id).mkdir()
            message = await trainer.train(component_id, tmp_path / component_id, news.append)
            messages.append(message)
            pids.add(trainer.pid)
        await trainer.stop()
        return messages, news, pids

    messages, news, pids = asyncio.run(both())
    assert [message["type"] for message in messages] == ["done", "done"]
    assert len(pids) == 1
    assert gone(pids.pop())
    # Random images, the same in both: the component is a function of them.
    assert messages[0]["sha256"] == messages[1]["sha256"]
    component = tangent.Component.load(Path(messages[0]["file"]))
    assert dict(component.labels) == messages[0]["labels"] == {"a": 6, "b": 6}
    assert "features" in {item["phase"] for item in news}
    assert all(0 < item["step"] <= item["total"] for item in news)


@on_sqlite
def test_an_error_is_told_with_its_code_and_the_process_goes_on(store, tmp_path):
    async def both() -> list[dict]:
        trainer = TrainerProcess(store.settings)
        good = store.queue()
        messages = []
        for component_id in ("cmp_unknown", good):
            (tmp_path / component_id).mkdir()
            messages.append(await trainer.train(component_id, tmp_path / component_id, print))
        await trainer.stop()
        return messages

    bad, good = asyncio.run(both())
    assert bad["type"] == "failed"
    assert bad["code"] == "component_not_found"
    assert "no component 'cmp_unknown'" in bad["detail"]
    assert good["type"] == "done"


@on_sqlite
def test_a_death_is_noticed_at_once_and_the_next_job_gets_a_new_process(store, tmp_path):
    async def killed() -> tuple[str, float, dict]:
        trainer = TrainerProcess(store.settings)
        long = store.queue(solver="adam", epochs=10_000, batch_size=1)
        (tmp_path / "a").mkdir()

        def kill(_: dict) -> None:
            nonlocal struck
            struck = time.monotonic()
            os.kill(trainer.pid, signal.SIGKILL)

        struck = 0.0
        with pytest.raises(TrainerDied) as caught:
            await trainer.train(long, tmp_path / "a", kill)
        noticed = time.monotonic() - struck
        (tmp_path / "b").mkdir()
        again = await trainer.train(store.queue(), tmp_path / "b", print)
        await trainer.stop()
        return str(caught.value), noticed, again

    how, seconds, again = asyncio.run(killed())
    assert "killed by signal 9" in how
    assert seconds < 0.5
    assert again["type"] == "done"


@on_sqlite
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_trainer_dies_with_the_process_that_started_it(store, tmp_path, end):
    job = {"component_id": store.queue(solver="adam", epochs=10_000), "folder": str(tmp_path)}
    code = (
        "import os, subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'training_worker.trainer', str(os.getpid())]\n"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        f"child.stdin.write({store.settings.model_dump_json()!r}.encode() + b'\\n')\n"
        f"child.stdin.write({json.dumps(job)!r}.encode() + b'\\n')\n"
        "child.stdin.flush()\n"
        "child.stdout.readline(), child.stdout.readline()\n"  # ready, and first progress
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with parent:
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.send_signal(end)
        parent.wait(5)
        wait_until(lambda: gone(pid), 1)


def test_a_trainer_whose_parent_is_gone_already_ends_at_once():
    command = [sys.executable, "-m", "training_worker.trainer", "1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 1


@pytest.mark.skipif(sys.platform != "linux", reason="asks the OpenMP of Linux")
@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_the_trainer_s_threads_sleep_between_operations_unless_told_otherwise(given, expected):
    code = "from training_worker import trainer; trainer.sleep_while_waiting(); import torch"
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({"OMP_WAIT_POLICY": given} if given else {})
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    shown = [line for line in answer.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    assert shown and all(f"'{expected}'" in line for line in shown), answer.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EIO, "Input/output error"), "storage_unavailable"),
        (KeyError("mine"), "training_error"),
    ],
)
def test_a_training_that_ends_with_an_error_says_which(error, code):
    class Failing:
        def run(self, *_):
            raise error

    job = {"component_id": "cmp_1", "folder": "/nowhere"}
    message = trainer.run(Failing(), job, io.StringIO())
    assert (message["type"], message["code"]) == ("failed", code)
    assert "memory" not in message["detail"]
