"""A process of node with the page's modules: it answers thousands of calls in a second.

    ask = Node(call)
    ask(value)                       the JSON value that `call` returns, or `Thrown`

`call` is the source of an asynchronous function of the value and of `load`, which imports a module
by its path below app/page. What it throws is returned as its class and message.
"""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple, Self

import pytest

PAGE = Path(__file__).resolve().parents[2] / "app" / "page"
LOOP = """
import { createInterface } from "node:readline";
globalThis.document = { baseURI: "http://service.test/" };
const loaded = new Map();
const load = async (path) => {
  if (!loaded.has(path)) loaded.set(path, await import(`file://${FOLDER}/${path}`));
  return loaded.get(path);
};
const call = CALL;
for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { value: (await call(JSON.parse(line), load)) ?? null };
  } catch (error) {
    answer = { name: error.constructor.name, message: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\\n`);
}
"""


class Thrown(NamedTuple):
    """An error that a call has thrown."""

    name: str
    message: str


class Node:
    """A process that answers one call after the other."""

    def __init__(self, call: str) -> None:
        program = shutil.which("node")
        if program is None:
            if os.environ.get("CI") == "true":
                pytest.fail("CI must run this test, but there is no node")
            pytest.skip("there is no node on this machine")
        source = LOOP.replace("${FOLDER}", str(_modules())).replace("CALL", call.strip())
        self._process = subprocess.Popen(
            [program, "--no-warnings", "--input-type=module", "--eval", source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def __call__(self, value: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["value"] if "value" in answer else Thrown(**answer)


@cache
def _modules() -> Path:
    """Copy the page below a package that says what its files are, as node wants to be told."""
    folder = Path(mkdtemp(prefix="page-process-"))
    shutil.copytree(PAGE, folder / "page")
    (folder / "package.json").write_text('{"type": "module"}')
    return folder / "page"
