"""The worker's end of the trainer process: starts it when needed, gives it jobs, kills it."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from app.settings import Settings

MAX_LINE = 64 * 2**20  # bytes; a final message names every label


class TrainerDied(Exception):
    """The trainer process ended in the middle of a job; the message says how."""


class TrainerProcess:
    """One trainer at a time, kept between jobs; to be used from one event loop.

    The thread of that loop must live as long as the worker: the kernel kills the trainer when the
    thread that started it ends.
    """

    def __init__(self, settings: Settings) -> None:
        self._hello = settings.model_dump_json(exclude={"api_key"})
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Return the present trainer's process id; None without a trainer."""
        return self._process.pid if self._process else None

    async def train(
        self, component_id: str, folder: Path, progress: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Return the job's final message; kill the trainer if the task is cancelled.

        Raises:
            TrainerDied: it was killed or crashed; the next job gets a new one.
        """
        async with self._turn:
            finished = False
            try:
                process = await self._running()
                await _write(
                    process, json.dumps({"component_id": component_id, "folder": str(folder)})
                )
                while not finished:
                    message = await _read(process)
                    if message["type"] == "progress":
                        progress(message)
                    finished = message["type"] in ("done", "failed")
                return message
            finally:
                if not finished:
                    await self.stop()

    async def stop(self) -> None:
        """Kill the trainer, if there is one, and wait for its end."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def end_idle(self, seconds: float = 2.0) -> None:
        """Kill a trainer that has no job, from another thread, before the event loop is closed."""
        process, end = self._process, monotonic() + seconds
        if process is None or process.returncode is not None or self._turn.locked():
            return
        process.kill()
        while process.returncode is None and monotonic() < end:
            sleep(0.01)  # the loop takes note

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            command = [sys.executable, "-m", "training_worker.trainer", str(os.getpid())]
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, limit=MAX_LINE
            )
            await _write(self._process, self._hello)
        return self._process


async def _write(process: Process, line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()
    except ConnectionError:
        raise TrainerDied(_cause(await process.wait())) from None


async def _read(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        raise TrainerDied(_cause(await process.wait()))
    return json.loads(line)


def _cause(status: int) -> str:
    """Describe how a process ended, from its exit status as asyncio gives it."""
    if status == -signal.SIGKILL:
        return "was killed by signal 9, as the kernel does when memory runs out"
    return f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
