"""Functions of the page's modules, run by node: those that need no document.

called("algebra/softmax.js", "softmax", [1.0, 2.0], 1.5)
looked_up({"cmp_1": ["cat"]})          as an argument: a function that looks a text up
"""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "app" / "page"
FOLDERS = ("algebra", "evaluate", "parts")
SECONDS = 60
CALL = """
let text = "";
for await (const part of process.stdin) text += part;
const { module, name, given } = JSON.parse(text);
const argument = (each) => {
  if (each?.lookup) return (key) => each.lookup[key];
  return each?.pairs ? new Map(each.pairs) : each;
};
const found = (await import(module))[name](...given.map(argument));
console.log(JSON.stringify(found instanceof Map ? [...found] : found ?? null));
"""


def called(module: str, name: str, *given: Any) -> Any:
    """Return what a function of a page's module returns; without node, skip the test."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must run the page's functions, but there is no node")
        pytest.skip("there is no node, which runs the page's functions: apt-get install nodejs")
    asked = {"module": str(_modules() / module), "name": name, "given": given}
    done = subprocess.run(
        [node, "--input-type=module", "--eval", CALL],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def looked_up(values: dict[str, Any]) -> dict[str, Any]:
    """Return an argument that becomes a function from a key to its value."""
    return {"lookup": values}


def mapped(pairs: dict[str, Any]) -> dict[str, Any]:
    """Return an argument that becomes a Map."""
    return {"pairs": list(pairs.items())}


@cache
def _modules() -> Path:
    """Copy the modules below a package that says what they are, as node wants to be told."""
    folder = Path(mkdtemp(prefix="page-modules-"))
    for name in FOLDERS:
        shutil.copytree(PAGE / name, folder / name)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder
