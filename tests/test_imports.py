"""Imports go one way: an AST walk holds the rules, a subprocess checks what really loads.

A test holds one rule for all modules, and lists every module that breaks it.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.source_trees import (
    ALL_CODE,
    PACKAGES,
    ROOT,
    below,
    imported,
    modules,
    nodes,
    source,
)

OURS = set(ALL_CODE)
ROWS_AND_FILES = ("app.passes", "app.store", "app.datasets", "app.files", "app.database")
WITHOUT_TORCH = (
    *(*ROWS_AND_FILES, "app.access", "app.errors", "app.settings", "app.images", "app.archives"),
    *("app.cli.demo", "tangent_composer", "tangent.vocabulary", "tangent.errors"),
    *("tangent.components.gaussian_mechanism", "tangent.components.privacy"),
    "tangent.backbones.geometry",
)

# A part of the project -> the parts it may import. The first prefix that fits a module decides. The
# places where everything is put together may import all.
ROOTS = ("app", "app.main")
BELOW_DATABASE = ("app.errors", "app.settings")
DATABASE = ("app.database", *BELOW_DATABASE)
BELOW_FILES = ("app.archives", "app.images", *DATABASE)
DATASETS = ("app.datasets", "app.files", "app.access", *BELOW_FILES)
STORE = ("app.store", *DATASETS, "tangent_composer.canonical_json")
WORDS = ("tangent.vocabulary", "tangent_composer.labels", "tangent.components.privacy")
READING = ("tangent_composer.labels", "tangent_composer.folders", "tangent_composer.system_files")
CONTRACT = (  # what users and the service share; `tangent_composer` loads nothing of ours but this
    *("tangent_composer.schemas", "tangent_composer.receipts", "tangent_composer.canonical_json"),
    *("tangent_composer.labels", "tangent_composer.vocabulary"),
)
OF_SERVER = tuple(
    f"app.server.{each}"
    for each in ("event_loop", "garbage", "launcher", "logs", "metrics", "tracing")
)
BELOW_INFERENCE = (*STORE, *CONTRACT, *OF_SERVER, "app.server.transfers", "tangent")
PARTS = ("app.parts", "app.passes", "app.inference", *BELOW_INFERENCE)
# Of a training on a machine without the service: nothing that opens its database.
LOCAL = (
    *("training_worker.local", "training_worker.source", "training_worker.fitting", "tangent"),
    *("app.archives", "app.images", "app.errors", "app.files.blobs", "app.files.stored_images"),
    *(*READING, "tangent_composer.metrics_file"),
)
MAY_IMPORT = {
    "tangent_composer.labels": (),
    "tangent_composer.folders": (),
    "tangent_composer.garbage": (),
    "tangent_composer.terminal": (),
    "tangent_composer.system_files": (),
    "tangent_composer.vocabulary": (),
    "tangent_composer.canonical_json": (),
    "tangent_composer.schemas": CONTRACT,
    "tangent_composer.receipts": (
        "tangent_composer.receipts",
        "tangent_composer.canonical_json",
    ),
    "tangent_composer": ("tangent_composer",),
    "tangent.vocabulary": (),
    "tangent.backbones.geometry": (),
    "tangent": ("tangent",),
    "app.errors": (),
    "app.settings.addresses": (),
    "app.settings": ("app.settings",),
    "app.server": ("app.server", "app.settings", "tangent_composer.garbage"),
    "app.images": (
        "app.errors",
        "app.images",
        "app.server.event_loop",
        "tangent.backbones.geometry",
    ),
    "app.archives": ("app.errors", "app.archives", "app.images", *READING),
    "app.database": (*DATABASE, "migrations"),
    "app.files": ("app.files", *BELOW_FILES, "tangent"),
    "app.access": ("app.access", *DATABASE),
    "app.datasets": (*DATASETS, *WORDS, "tangent.components.gaussian_mechanism"),
    "app.store": (*STORE, *WORDS, "tangent.errors"),
    "app.inference": ("app.inference", *BELOW_INFERENCE),
    "app.parts": ("app.passes.bell", "app.inference", *BELOW_INFERENCE),
    "app.passes": ("app.passes", *STORE),
    "app.receipts": ("app.receipts", *PARTS),
    "app.operations": ("app.operations", *PARTS),
    "app.unlearning": ("app.unlearning", "app.receipts", "app.operations.dataset_pass", *PARTS),
    "app.api.page": ("app.api", "app.errors", "tangent_composer.samples"),
    "app.api": ("app.api", "app.unlearning", "app.receipts", "app.operations", *PARTS),
    "app.backups": ("app.backups", "app.unlearning", "app.receipts", *PARTS),
    "app.cli.access_parsers": ("tangent_composer.schemas",),
    "app.cli.demo": (
        *("app.cli.demo", "tangent.vocabulary", "tangent_composer.samples"),
        "tangent_composer.terminal",
    ),
    "app.cli.doctor": ("app.receipts", *PARTS),
    "app.cli.changed_spaces": PARTS,
    "app.cli": ("app", "training_worker", "tangent", "tangent_composer"),
    "training_worker.local": LOCAL,
    "training_worker.source": LOCAL,
    "training_worker.fitting": LOCAL,
    "training_worker": (
        *(
            "training_worker",
            "tangent",
            "app.store",
            "app.datasets",
            "app.files",
            "app.database",
            "app.settings",
        ),
        *("app.images", "app.errors", "app.server.logs", "tangent_composer.garbage"),
    ),
    "migrations": ("migrations", "app.database", "app.settings"),
}
# A package -> the only modules (prefixes) that may import it.
ONLY_IN = {
    "timm": ("tangent.backbones.loading", "tangent.backbones"),
    "torchvision": ("tangent.backbones.torchvision_guard",),
    "torch": ("tangent", "training_worker", "app.inference.engine", "benchmarks", "tests"),
    "numba": (
        "tangent.composition.compiled_sum",
        "tangent.components.compiled_packing",
        "tests",
    ),
    "triton": ("tangent.composition.triton_sum", "tangent.jvp.triton_attention", "tests"),
    "dbos": ("training_worker", "app.database.jobs", "tests"),
    "sqlalchemy.create_engine": ("app.database.sql_engines", "tests"),
    "cryptography": ("app.receipts.signing", "tangent_composer.receipts.signatures", "tests"),
    "rich": (
        *("app.cli", "benchmarks", "tests"),
        *("tangent_composer.cli", "tangent_composer.client.progress"),
    ),
    "typer": ("documentation", "tangent_composer.cli", "tests"),
    "sklearn": ("benchmarks", "tests"),
}
NEVER = {
    **dict.fromkeys(ROWS_AND_FILES, ("fastapi", "starlette", "torch", "timm")),
    "tangent": ("fastapi", "sqlalchemy", "pydantic", "httpx", "dbos"),
    "training_worker": ("fastapi", "httpx"),
    "training_worker.local": ("fastapi", "httpx", "sqlalchemy", "dbos", "pydantic"),
    **dict.fromkeys(
        ("app.inference", "app.receipts", "app.operations", "app.unlearning", "app.access"),
        ("fastapi", "starlette"),
    ),
    "app.api": ("sqlalchemy", "torch", "timm", "dbos", "numpy"),
}


@pytest.fixture(autouse=True, scope="module")
def trees_forgotten() -> Iterator[None]:
    """Leave no tree to the tests that follow in this process."""
    yield
    nodes.cache_clear()


def test_the_folders_that_are_promised_stand_at_the_top() -> None:
    promised = {"app", "migrations", "tangent", "tests", "training_worker"}
    missing = {name for name in promised if not (ROOT / name / "__init__.py").exists()} - {"tests"}
    assert not missing, "who deploys or reads the project looks for these folders at its top"


def test_a_module_imports_only_the_parts_that_its_place_allows():
    wrong = []
    for module in modules():
        rule = next((key for key in MAY_IMPORT if below(module, key)), None)
        if rule is None:
            if module not in ROOTS:
                wrong.append(f"{module} has no rule: add it to MAY_IMPORT")
            continue
        wrong += [
            f"{module} ({rule}) must not import {name}"
            for name in imported(module)
            if name.split(".")[0] in OURS and name not in PACKAGES
            if not any(below(name, allowed) for allowed in MAY_IMPORT[rule])
        ]
    assert not wrong, "\n".join(wrong)


def test_a_module_leaves_alone_the_packages_that_belong_to_others():
    wrong = []
    for module in modules(ALL_CODE):
        forbidden = [
            *(
                package
                for package, owners in ONLY_IN.items()
                if not any(below(module, owner) for owner in owners)
            ),
            *(name for part, names in NEVER.items() if below(module, part) for name in names),
        ]
        wrong += [
            f"{module} imports {name}"
            for name in imported(module)
            if any(below(name, package) for package in forbidden)
        ]
    assert not wrong, "\n".join(wrong)


def test_torch_is_not_reachable_from_what_must_start_without_it():
    known = set(modules())
    for start in (m for m in modules() if any(below(m, part) for part in WITHOUT_TORCH)):
        todo, seen = [start], set()
        while todo:
            module = todo.pop()
            seen.add(module)
            for name in imported(module, at_run_time_only=True):
                assert not below(name, "torch"), f"{start} reaches torch through {module}"
                todo += {name} & known - seen


def test_importing_what_must_start_without_torch_does_not_load_it():
    names = [m for m in modules() if any(below(m, part) for part in WITHOUT_TORCH)]
    code = f"import sys, {', '.join(names)}\nprint(sorted({{'torch', 'timm'}} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "[]"


def test_only_the_settings_read_the_environment():
    wrong = []
    for module in modules():
        if module in ("app.settings.environment", "tangent_composer.environment"):
            continue
        if module == "tangent.spaces.devices":  # it tells a library of the GPU, in the only way
            text = (ROOT / "tangent/spaces/devices.py").read_text()
            assert text.count("os.") == text.count("os.environ.setdefault(WORKSPACE,") == 1
            continue
        for node in nodes(module):
            of_os = isinstance(node, ast.ImportFrom) and node.module == "os"
            names = {alias.name for alias in node.names} if of_os else set()
            names |= {node.attr} if isinstance(node, ast.Attribute) else set()
            if names & {"environ", "environb", "getenv"}:
                wrong.append(f"{module}:{node.lineno} reads the environment; only the settings may")
    assert not wrong, "\n".join(wrong)


def test_only_the_session_dependency_of_the_api_opens_a_transaction():
    opening = {f"app.database.sessions.{name}" for name in ("transaction", "session_factory")}
    wrong = [
        f"{module}: call a function of Parts instead"
        for module in modules()
        if below(module, "app.api") and module != "app.api.http.deps"
        if opening & set(imported(module))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_rules_name_parts_that_exist():
    known = modules()
    for part in MAY_IMPORT:
        assert any(below(module, part) for module in known), (
            f"{part} is in MAY_IMPORT but is no module"
        )


def test_no_test_imports_a_test_and_nothing_imports_a_conftest():
    wrong = []
    for module in modules(("tests",)):
        in_texts = re.findall(
            r"(?m)^\s*(?:from|import) (tests\.\S*\btest_\w+)", source(module).read_text()
        )
        wrong += [f"{module} lets a process import {name}" for name in in_texts]
        wrong += [
            f"{module} imports {name}: move what both need to tests/support"
            for name in imported(module)
            if name.startswith("tests.")
            if any(part.startswith("test_") or part == "conftest" for part in name.split("."))
        ]
    assert not wrong, "\n".join(wrong)


def test_the_walk_finds_modules_of_every_package():
    """A rule holds for nothing where no module is found."""
    found = modules(ALL_CODE)
    assert all(any(below(module, package) for module in found) for package in ALL_CODE)
    assert len(found) > 500
