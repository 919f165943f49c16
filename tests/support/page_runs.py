"""A page's blocks, run in their order as a reader would: one shell, one Python, one folder."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.support.pages import ROOT, SHELL, Block

SHOWN_ADDRESS = re.compile(r"\b(?:127\.0\.0\.1|localhost):8000\b")
SHOWN_DATABASE = "postgresql://tangent@db.example.org/tangent"
ANNOUNCED = re.compile(r"http://(127\.0\.0\.1:\d+)")
PATIENCE = 240  # seconds for one block
TANGENT = f'#!/bin/sh\nexec {sys.executable} -m tangent_composer.cli "$@"\n'
PYTHON = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
STRICT = "silent\nshow-error\nfail\n"  # a refusal ends the block, as curl then fails
LENIENT = "silent\nshow-error\n"
PYTHON_LOOP = """
import contextlib, os, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    source, output = line.split()
    code = open(source).read()
    if "import timm" in code:  # here, torchvision may be built for another torch
        import tangent.backbones.loading
    with open(output, "w") as file, contextlib.redirect_stdout(file):
        exec(compile(code, source, "exec"), names)
    os.write(int(sys.argv[1]), b".")
"""


class Interpreter:
    """A process that runs one file after another and keeps its variables."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._done, told = os.pipe()
        self._log = (folder / "log").open("ab")
        self.process = subprocess.Popen(
            [part.replace("TOLD", str(told)) for part in command],
            cwd=folder / "place",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=[told],
            start_new_session=True,  # whatever it starts ends with it
        )
        os.close(told)

    def run(self, line: str) -> bool:
        """Have it run a line; return whether that succeeded."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self._done], [], [], PATIENCE)
        return bool(ready) and os.read(self._done, 1) == b"."

    def end(self) -> None:
        """End it and what it has started."""
        assert self.process.stdin is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._log.close()
        os.close(self._done)


class PageRun:
    """The tools of a reader of one page: a folder, a shell, Python, and a service."""

    def __init__(self, folder: Path, address: str | None, database: str | None = None) -> None:
        self.folder, self.address, self._database = folder, address, database
        self._place = folder / "place"
        self._prepare()
        self._number = 0
        self._service: subprocess.Popen[bytes] | None = None
        self._interpreters: dict[str, Interpreter] = {}

    def _prepare(self) -> None:
        for name in ("place", "bin", "strict", "lenient", "config"):
            (self.folder / name).mkdir()
        for name, text in (("tangent", TANGENT), ("python", PYTHON), ("python3", PYTHON)):
            command = self.folder / "bin" / name
            command.write_text(text)
            command.chmod(0o755)
        (self.folder / "strict" / ".curlrc").write_text(STRICT)
        (self.folder / "lenient" / ".curlrc").write_text(LENIENT)
        venv = self._place / ".venv" / "bin"
        venv.mkdir(parents=True)
        (venv / "tangent").symlink_to(self.folder / "bin" / "tangent")

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the reader's shell."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TANGENT_")}
        told = {"TANGENT_URL": f"http://{self.address}"} if self.address else {}
        return {
            **kept,
            **told,
            "PATH": f"{self.folder / 'bin'}:{kept['PATH']}",
            "PYTHONPATH": str(ROOT),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "CURL_HOME": str(self.folder / "strict"),
            "TANGENT_PORT": "0",
            "TANGENT_THREADS": "1",
            "TANGENT_ENGINE": "inline",
        }

    def run(self, block: Block) -> str:
        """Run a block and return what it prints; it must do what its marks say."""
        self._number += 1
        source = self.folder / f"{self._number}.{block.language}"
        output = self.folder / f"{self._number}.out"
        if "service ends" in block.marks:
            self.end_service()
        source.write_text(self._with_address(block.code))
        if "serves" in block.marks:
            self._serve(source, output)
            return ""
        ran = self._run_shell(block, source, output) if block.language in SHELL else None
        ran = self._run_python(source, output) if ran is None else ran
        printed = output.read_text() if output.exists() else ""
        log = (self.folder / "log").read_text()[-3000:]
        assert ran, f"{block} failed:\n{block.code}\nIt printed:\n{printed[-3000:]}\n{log}"
        for text in block.prints():
            assert text in printed, f"{block} does not print {text!r}:\n{printed}"
        if (code := block.marks.get("refused")) is not None:
            assert re.search(rf'"code": ?"{code}"', printed), f"{block} is not refused:\n{printed}"
        return printed

    def end_service(self) -> None:
        """End the service that the page has started."""
        if self._service is not None:
            os.killpg(self._service.pid, signal.SIGTERM)
            self._service.wait(60)
            # The shell ends at once, and what it has started when it has let go of the data.
            ended, _, _ = select.select([self._alive], [], [], PATIENCE)
            os.close(self._alive)
            self._service = None
            assert ended, "the service does not end"

    def end(self) -> None:
        """End all that the page has started."""
        self.end_service()
        for each in self._interpreters.values():
            each.end()

    def _shell(self) -> Interpreter:
        if "shell" not in self._interpreters:
            command = ["bash", "-c", "exec 9>&TOLD; exec bash -euo pipefail -s"]
            made = Interpreter(command, self.folder, self.environment)
            self._interpreters["shell"] = made
        return self._interpreters["shell"]

    def _run_shell(self, block: Block, source: Path, output: Path) -> bool:
        manner = "lenient" if "refused" in block.marks else "strict"
        url = f"export TANGENT_URL=http://{self.address}; " if self.address else ""
        return self._shell().run(
            f"{url}export CURL_HOME={self.folder / manner}; "
            f". {source} </dev/null >{output} 2>&1; printf . >&9"
        )

    def _run_python(self, source: Path, output: Path) -> bool:
        if "python" not in self._interpreters:
            command = [sys.executable, "-c", PYTHON_LOOP, "TOLD"]
            made = Interpreter(command, self.folder, self.environment)
            self._interpreters["python"] = made
        return self._interpreters["python"].run(f"{source} {output}")

    def _with_address(self, code: str) -> str:
        code = code.replace(SHOWN_DATABASE, self._database) if self._database else code
        return SHOWN_ADDRESS.sub(self.address, code) if self.address else code

    def _serve(self, source: Path, output: Path) -> None:
        """Run the block until its service answers; its address is the page's from then on."""
        exported = self.folder / "exported"
        assert self._shell().run(f"env -0 > {exported}; printf . >&9")
        variables = (pair.partition("=") for pair in exported.read_text().split("\0") if pair)
        self._alive, held = os.pipe()  # at its end when nobody holds the other one any more
        with output.open("wb") as log:
            self._service = subprocess.Popen(
                ["bash", "-euo", "pipefail", str(source)],
                cwd=self._place,
                env={name: value for name, _, value in variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[held],
                start_new_session=True,
            )
        os.close(held)
        until = time.monotonic() + PATIENCE
        while not (found := ANNOUNCED.search(output.read_text(errors="replace"))):
            assert self._service.poll() is None, output.read_text(errors="replace")
            assert time.monotonic() < until, "the service does not answer"
            time.sleep(0.1)
        self.address = found[1]
