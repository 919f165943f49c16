"""A process starts without torch's compiler, and gets it whole when something asks for it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
STARTED = """
import sys
import torch
import tangent

space = tangent.open_space("resnet_micro_32", "head")
print("torch._dynamo" in sys.modules, "sympy" in sys.modules)

import torch._dynamo, torch._dynamo.utils

print(Path(torch._dynamo.__file__).parent.name, Path(torch._dynamo.utils.__file__).name)
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
print(torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(1)).item())
"""
ASKED_FOR_MORE = """
import sys
from tangent.backbones.deferred_compiler import compiler_deferred

with compiler_deferred():
    import torch

    exempt = torch.compiler.disable(len)
    print(exempt is len, torch.compiler.disable(reason="none")(len) is len)
    print(torch._dynamo.__name__, "sympy" in sys.modules)
    print(torch._dynamo.config.__name__, "sympy" in sys.modules)

loaded = torch._dynamo
with compiler_deferred():
    print(torch._dynamo is loaded is sys.modules["torch._dynamo"])
"""


def run(code: str) -> list[str]:
    """Return the lines that a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"from pathlib import Path\n{code}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_space_opens_without_the_compiler_which_is_there_when_it_is_wanted() -> None:
    assert run(STARTED) == ["False False", "_dynamo utils.py", "1.0"]


def test_whoever_asks_for_more_gets_the_compiler_and_keeps_it() -> None:
    assert run(ASKED_FOR_MORE) == [
        "True True",
        "torch._dynamo False",
        "torch._dynamo.config True",
        "True",
    ]
