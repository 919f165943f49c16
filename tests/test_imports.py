"""Imports go one way: an AST walk holds the rules, a subprocess checks what really loads."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("app", "migrations", "tangent", "tangent_composer", "training_worker")
ALL_CODE = (*PACKAGES, "benchmarks", "documentation", "tests")
OURS = set(PACKAGES) | {"benchmarks", "documentation", "tests"}
LONGEST_FILE = 300
ROWS_AND_FILES = ("app.passes", "app.store", "app.datasets", "app.files", "app.database")
WITHOUT_TORCH = (
    *(*ROWS_AND_FILES, "app.access", "app.errors", "app.settings", "app.images", "app.archives"),
    *("app.demo", "tangent_composer", "tangent.vocabulary", "tangent.errors"),
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
    f"app.server.{each}" for each in ("event_loop", "garbage", "logs", "metrics", "tracing")
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
    "app.server": ("app.server", "app.settings"),
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
    "app.cli.doctor": ("app.receipts", *PARTS),
    "app.cli.changed_spaces": PARTS,
    "app.cli": ("app", "training_worker", "tangent", "tangent_composer"),
    "app.demo": (
        *("app.demo", "tangent.vocabulary", "tangent_composer.samples"),
        "tangent_composer.terminal",
    ),
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
        *("app.images", "app.errors", "app.server.logs"),
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
    "dbos": ("training_worker", "app.database.jobs", "tests"),
    "cryptography": ("app.receipts.signing", "tangent_composer.receipts.signatures", "tests"),
    "rich": (
        *("app.demo", "app.cli", "benchmarks", "tests"),
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


def modules(packages: tuple[str, ...] = PACKAGES) -> list[str]:
    """Every module of these packages, dotted."""
    found = []
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def source(module: str) -> Path:
    """The module's file."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    """Every node of the module's syntax tree."""
    return tuple(ast.walk(ast.parse(source(module).read_text())))


@cache
def imported(module: str, *, at_run_time_only: bool = False) -> tuple[str, ...]:
    """Full dotted names that the module imports; of `from a import b` both `a` and `a.b`."""
    names: list[str] = []
    skipped: set[ast.AST] = set()
    if at_run_time_only:
        for node in nodes(module):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped.update(inner for child in node.body for inner in ast.walk(child))
    for node in nodes(module):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import at line {node.lineno}"
            names += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_the_parts_that_its_place_allows(module):
    rule = next((key for key in MAY_IMPORT if below(module, key)), None)
    if rule is None:
        assert module in ROOTS, f"{module} has no rule: add it to MAY_IMPORT"
        return
    names = [
        name for name in imported(module) if name.split(".")[0] in OURS and name not in PACKAGES
    ]
    wrong = [
        name for name in names if not any(below(name, allowed) for allowed in MAY_IMPORT[rule])
    ]
    assert not wrong, f"{module} ({rule}) must not import {wrong}"


@pytest.mark.parametrize("module", modules(ALL_CODE))
def test_a_module_leaves_alone_the_packages_that_belong_to_others(module):
    for name in imported(module):
        for package, owners in ONLY_IN.items():
            if below(name, package):
                assert any(below(module, owner) for owner in owners), f"{module} imports {name}"
        for part, forbidden in NEVER.items():
            if below(module, part):
                assert not any(below(name, package) for package in forbidden), (
                    f"{module} imports {name}"
                )


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


@pytest.mark.parametrize("module", modules())
def test_only_the_settings_read_the_environment(module):
    if module in ("app.settings.environment", "tangent_composer.environment"):
        return
    for node in nodes(module):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"):
            pytest.fail(f"{module}:{node.lineno} reads the environment; only the settings may")
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert not {"environ", "getenv"} & {alias.name for alias in node.names}, module


@pytest.mark.parametrize("module", [name for name in modules() if below(name, "app.api")])
def test_only_the_session_dependency_of_the_api_opens_a_transaction(module):
    opening = {f"app.database.sessions.{name}" for name in ("transaction", "session_factory")}
    if module != "app.api.http.deps":
        assert not opening & set(imported(module)), f"{module}: call a function of Parts instead"


@pytest.mark.parametrize("module", modules(ALL_CODE))
def test_no_file_is_longer_than_300_lines(module):
    lines = len(source(module).read_text().splitlines())
    assert lines <= LONGEST_FILE, f"{module} has {lines} lines: split it by noun"


@pytest.mark.parametrize("module", modules(ALL_CODE))
def test_files_are_named_after_nouns_of_the_domain(module):
    grab_bags = {"utils", "util", "services", "core", "manager", "managers", "helpers"}
    grab_bags |= {"common", "misc"}
    assert not grab_bags & set(module.split(".")), f"{module}: name the file after what it holds"


def test_the_rules_name_parts_that_exist():
    known = modules()
    for part in MAY_IMPORT:
        assert any(below(module, part) for module in known), (
            f"{part} is in MAY_IMPORT but is no module"
        )


@pytest.mark.parametrize("module", [m for m in modules(("tests",)) if m.startswith("tests.")])
def test_no_test_imports_a_test_and_nothing_imports_a_conftest(module):
    for name in imported(module):
        parts = name.split(".")
        if parts[0] == "tests":
            tests = [part for part in parts if part.startswith("test_") or part == "conftest"]
            assert not tests, f"{module} imports {name}: move what both need to tests/support"
    in_texts = re.findall(
        r"(?m)^\s*(?:from|import) (tests\.\S*\btest_\w+)", source(module).read_text()
    )
    assert not in_texts, f"{module} lets a process import {in_texts}"
