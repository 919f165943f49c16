"""Benchmarks on the device that they are told, and a look at a bare machine without the service."""

import ast
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import composition, device, measured, serving, training
from benchmarks.interleaved import machine
from benchmarks.products import FUSED
from tangent.backbones.loading import create_untrained, wrap

ROOT = Path(__file__).resolve().parents[2]
ON_A_DEVICE = (
    "serving",
    "training",
    "composition",
    "products",
    "device",
    "interleaved",
    "plain_passes",
    "precision",
    "mixed_batches",
)
ONLY_ON_THE_HOST = {  # where the word stands for the host's memory, not for the device measured
    ("composition", 'vector.device.type == "cpu"'),
}
# A machine for measurements: no module of the service, and none of what the service needs.
BARE = """
import sys
from importlib.abc import MetaPathFinder

class Refusing(MetaPathFinder):
    NAMES = {"app", "training_worker", "tangent_composer", "migrations", "fastapi", "sqlalchemy"}
    NAMES |= {"pydantic", "rich", "dbos", "starlette", "alembic", "typer", "httpx"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.NAMES:
            raise ModuleNotFoundError(f"{name} is not on a bare machine", name=name)

sys.meta_path.insert(0, Refusing())
"""


@pytest.mark.parametrize("name", ON_A_DEVICE)
def test_no_benchmark_has_its_device_written_in_it(name):
    source = (ROOT / "benchmarks" / f"{name}.py").read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in ("cpu", "cuda:0"):
            line = source.splitlines()[node.lineno - 1]
            allowed = any(n == name and text in line for n, text in ONLY_ON_THE_HOST)
            assert allowed, f"benchmarks/{name}.py:{node.lineno} names the CPU: take --device"


@pytest.mark.parametrize("func", FUSED, ids=str)
def test_every_kernel_of_attention_runs_again_with_what_it_must_be_given(func):
    asked = [each for each in func._schema.arguments if not each.has_default_value()]
    assert len(asked) == 3 + len(FUSED[func])


def test_a_model_is_wrapped_where_it_is():
    """The meta device refuses numbers of the CPU, as a GPU does."""
    model = create_untrained("resnet18", 0, layers=(1, 1, 1, 1), channels=(2, 3, 4, 5)).eval()
    seen = []
    model.register_forward_pre_hook(lambda _m, given: seen.append(given[0].device.type))
    model.to("meta")
    with pytest.raises(NotImplementedError, match="meta"):  # its weights have no hash
        wrap("resnet18", model)
    assert seen == ["meta"]


def test_a_cell_that_fails_or_takes_too_long_is_told_and_the_others_go_on(capsys):
    def fail(_bench):
        raise RuntimeError("no such kernel\nmore")

    def wait(_bench):
        while True:
            pass

    cells = [device.Cell(name, "ms", "≤ 1", way) for name, way in (("a", fail), ("b", wait))]
    bench = device.Bench(torch.device("cpu"), True, 1, "float32")
    for cell in cells:
        device.run(cell, bench, 1)
    assert [cell.error for cell in cells] == [
        "RuntimeError: no such kernel",
        "TimeoutError: took more than 1 s",
    ]
    made = measured.PAGES["measured.md"]["device"](device.results(bench, "Card 9", cells))
    assert "Card 9" in made and "| a | ms | ≤ 1 | RuntimeError: no such kernel |" in made


def test_a_bare_machine_checks_and_measures_itself(tmp_path):
    """`device.sh --quick` on the CPU, in a folder that has nothing of the service."""
    for part in ("tangent", "benchmarks", "tests/tangent", "tests/support"):
        place = tmp_path / part
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(ROOT / part)
    (tmp_path / "benchmarks").unlink()
    (tmp_path / "benchmarks").mkdir()
    for file in (ROOT / "benchmarks").iterdir():
        if file.suffix in (".py", ".sh"):
            (tmp_path / "benchmarks" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "benchmarks" / "device.sh").chmod(0o755)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "bare.py").write_text(BARE)
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        f'export PYTHONPATH="$PYTHONPATH:{tmp_path / "site"}"\n'
        f'shift; module=$1; shift\nexec "{sys.executable}" -c '
        "'import bare, runpy, sys; sys.argv[0] = sys.argv[1]; del sys.argv[1]; "
        'runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)\' "$module" "$@"\n'
    )
    python.chmod(0o755)
    given = os.environ | {"PYTHON": str(python), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [tmp_path / "benchmarks" / "device.sh", "--device", "cpu", "--quick"],
        cwd=tmp_path,
        env=given,
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and "FAILED" not in done.stdout
    for cell in device.cells():
        assert f"{cell.name}: " in done.stdout


def test_results_are_written_after_every_cell(tmp_path, monkeypatch):
    one = device.Cell("one", "ms", "≤ 1", lambda _bench: 0.5)
    monkeypatch.setattr(device, "cells", lambda: [one])
    path = tmp_path / "made" / "device.json"
    given = ["--device", "cpu", "--quick", "--json", str(path)]
    assert device.main(given) == 0
    assert json.loads(path.read_text())["cells"][0]["figure"] == 0.5


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_what_make_bench_runs_takes_the_device_that_it_is_told(tmp_path, monkeypatch):
    small = partial(create_untrained, layers=(1, 1, 1, 2), channels=(2, 3, 4, 5))
    monkeypatch.setattr(serving, "create_untrained", small)
    to, of = ["--device", "cpu", "--rounds", "1", "--json"], ["--models", "resnet18"]
    serving.main([*of, "--batches", "2", *to, str(tmp_path / "serving.json")])
    monkeypatch.setattr(training, "EPOCHS", 1)
    training.main([*of, "--images", "4", *to, str(tmp_path / "training.json")])
    assert composition.main(["--quick", *to, str(tmp_path / "composition.json")]) == 0
    for name in ("serving", "training", "composition"):
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["machine"] == machine(torch.get_num_threads())
