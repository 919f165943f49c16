"""The documents say what the code does: settings, decisions, dependencies, versions."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from app.inference.engine.metrics import EngineMetrics
from app.server.metrics import Metrics
from app.settings import Settings
from app.store.counts import Counts
from benchmarks.structure.picture import rendered
from tangent.composition.merging import METHODS, MergeMethod
from tests.support.alarms import codes_of_outages, log_lines

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGES = sorted(path for path in (ROOT / "docs").iterdir() if path.suffix == ".md")
EVERY_DOCUMENT = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "Makefile"),
    *(f"docs/{page.name}" for page in PAGES),
]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every Markdown table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_setting_is_listed_with_its_default_and_meaning():
    shown = [
        row
        for row in rows((ROOT / "docs" / "settings.md").read_text())
        if row[0].startswith("`TANGENT_")
    ]
    expected = [
        [
            f"`TANGENT_{name.upper()}`",
            "–" if field.default is None else f"`{field.default}`",
            field.description,
        ]
        for name, field in Settings.model_fields.items()
    ]
    assert shown == expected


def test_the_readme_is_about_a_hundred_lines():
    assert len(README.splitlines()) <= 100


@pytest.mark.parametrize(
    "name",
    [
        *("LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Dockerfile"),
        *(".pre-commit-config.yaml", ".github/workflows/ci.yml"),
    ],
)
def test_what_every_project_has_is_here(name):
    assert (ROOT / name).stat().st_size > 500


def test_decisions_are_numbered_without_gaps():
    assert [path.name[:4] for path in DECISIONS] == [
        f"{i:04}" for i in range(1, len(DECISIONS) + 1)
    ]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_short_and_has_its_sections(path):
    text = path.read_text()
    number = int(path.name[:4])
    assert len(text.splitlines()) <= 50
    assert text.startswith(f"# {number}. ")
    assert re.findall(r"^## (.*)$", text, re.M) == [
        "Context",
        "Decision",
        "Consequences",
        "Alternatives",
    ]
    assert re.search(r"^Status: (accepted|superseded by record \d+)$", text, re.M)


def test_every_equation_that_the_code_cites_is_listed():
    listed = {row[0] for row in rows((ROOT / "docs" / "equations.md").read_text())}
    for path in (ROOT / "tangent").rglob("*.py"):
        text = path.read_text()
        cited = {f"eq. {n}" for n in re.findall(r"\beq\. (\d+)", text)}
        cited |= set(re.findall(r"\bJ\d+\b", text))
        assert cited <= listed, path


def test_every_make_target_that_a_document_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for name in EVERY_DOCUMENT:
        named = set(re.findall(r"`make ([a-z-]+)", (ROOT / name).read_text()))
        assert named <= targets, name


@pytest.mark.parametrize("name", [each for each in EVERY_DOCUMENT if each != "CHANGELOG.md"])
def test_no_document_sends_to_alembic_which_has_no_configuration_outside_of_the_code(name):
    assert not re.findall(r"\balembic (?:upgrade|downgrade)\b", (ROOT / name).read_text())


def test_make_lists_its_targets():
    answer = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    for target in ("demo", "test", "lint", "run", "bench-accuracy", "bench-memory"):
        assert f"make {target} " in answer.stdout


@pytest.mark.parametrize("name", EVERY_DOCUMENT)
def test_every_file_that_a_document_names_exists(name):
    text = (ROOT / name).read_text()
    folders = "tests|docs|documentation|benchmarks|app|tangent|migrations|training_worker"
    pattern = rf"`((?:{folders})/[\w/.-]*)`"
    for path in re.findall(pattern, text):
        assert (ROOT / path).exists(), f"{name} names {path}"


def test_the_operators_page_lists_every_parameter_with_its_default_and_range():
    page = (ROOT / "docs" / "operators.md").read_text()
    expected = [
        [f"`{name}`", f"`{key}`", f"{default:.7g}", f"{low:.7g} … {high:.7g}"]
        for name, each in METHODS.items()
        for key, (default, low, high) in each.numbers.items()
    ]
    expected += [
        [f"`{name}`", f"`{key}`", allowed[0], ", ".join(allowed)]
        for name, each in METHODS.items()
        for key, allowed in each.choices.items()
    ]
    assert sorted(row for row in rows(page) if len(row) == 4 and "`" in row[0]) == sorted(expected)


def test_the_operators_page_lists_every_method_with_its_paper_weights_and_needs():
    page = (ROOT / "docs" / "operators.md").read_text()
    weights = {"any": "any", "positive": "> 0", "none": "none"}
    expected = [
        [f"`{name}`", method.reference, weights[method.weights], needs(method)]
        for name, method in METHODS.items()
    ]

    formulas = [row for row in rows(page) if len(row) == 5 and "`" in row[0]]

    assert sorted([name, *rest] for name, _, *rest in formulas) == sorted(expected)


def needs(method: MergeMethod) -> str:
    if method.dataset:
        return "a dataset"
    return "parents' images" if method.measures_images else "–"


def test_the_picture_of_the_rooms_shows_the_imports_as_they_are():
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert rendered(page) == page, (
        "draw it again: python -m benchmarks.structure --picture docs/architecture.md"
    )


def test_the_index_links_every_file_of_docs_with_a_sentence():
    index = (ROOT / "docs" / "index.md").read_text()
    linked = {
        re.fullmatch(r"\[.*\]\((.*)\)", row[0])[1]: row[1]
        for row in rows(index)
        if row[0].startswith("[")
    }
    there = {path.name for path in (ROOT / "docs").iterdir()} - {"index.md"}
    assert {target.strip("/") for target in linked} == there
    assert all(sentence.endswith(".") for sentence in linked.values())


def test_the_version_stands_in_one_place():
    version = PROJECT["version"]
    for package in (
        "app",
        "benchmarks",
        "migrations",
        "tangent",
        "tangent_composer",
        "training_worker",
    ):
        for path in (ROOT / package).rglob("*.py"):
            assert f'"{version}"' not in path.read_text(), f"{path}: ask importlib.metadata"


def test_the_version_has_the_latest_dated_section_of_the_changelog():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## \[(.*?)\](?: - (\d{4}-\d\d-\d\d))?$", changelog, re.M)
    assert sections[0] == ("Unreleased", "")
    assert sections[1][0] == PROJECT["version"]
    assert all(date for _, date in sections[1:])


def test_continuous_integration_runs_every_version_that_the_project_names():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"]]
    listed = re.search(r"^ +python: \[(.*)\]$", workflow, re.M)[1]
    assert listed.replace('"', "").split(", ") == named
    assert PROJECT["requires-python"] == f">={named[0]}"
    assert "- run: .ci/run" in workflow


def cells(heading: str) -> list[list[str]]:
    """The rows below the head of the first table in this section of the page on operations."""
    section = OPERATIONS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return rows(section.partition("<!-- battery -->")[0])[2:]


def test_every_promise_of_the_operations_page_names_tests_that_exist():
    for promise, proof in cells("What is promised, and the test that proves it"):
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", proof)
        assert named, promise
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test} is not there"


def test_every_code_of_503_and_507_has_its_row_for_operators():
    listed = [row[0].strip("`") for row in cells("Codes of 503 and 507")]
    assert listed == sorted(codes_of_outages())


def test_every_series_of_the_metrics_is_on_the_operations_page():
    metrics = Metrics()
    metrics.register_counts(lambda: Counts({}, 0, {}, 0, 0, 0, 0, 0))
    engine = EngineMetrics()
    engine.show_waiting(lambda: 0)
    metrics.engine_text = lambda: engine.text().decode()
    names = set(re.findall(r"^# TYPE (\w+)", metrics.text().decode(), re.M))
    section = OPERATIONS.partition("\n## Series")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`(tangent_\w+)`", section))
    assert {re.sub("_(total|created|info)$", "", name) for name in names} == listed


def test_every_line_of_the_log_on_the_operations_page_is_in_the_code():
    listed = {row[0].strip("`") for row in cells("Lines of the log")}
    assert listed <= set(log_lines("app", "tangent", "training_worker"))
