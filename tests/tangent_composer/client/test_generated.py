"""The blocking client is what its generator makes of the asynchronous one."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BLOCKING = ROOT / "tangent_composer" / "client" / "blocking"


def test_the_blocking_client_is_current():
    command = [sys.executable, str(ROOT / ".ci" / "blocking-client"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_nothing_asynchronous_is_left_in_it():
    kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    for path in BLOCKING.glob("*.py"):
        tree = ast.parse(path.read_text())
        assert not any(isinstance(node, kinds) for node in ast.walk(tree)), path
        assert "Async" not in ast.unparse(tree), path
