"""Every block of code that a page shows runs, in the page's order, against a real service."""

import ast
import configparser
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from app.cli.demo.service import started
from tangent_composer import Client
from tests.support.page_runs import PageRun
from tests.support.pages import (
    DATA,
    DOCS,
    PAGES,
    PLAIN,
    SHELL,
    Block,
    blocks,
    columns,
    has_database,
    has_service,
    without_blocks,
)

ALL = [block for page in PAGES for block in blocks(page)]
SHOWN = [block for block in ALL if block.shown]
MAX_NOT_RUN = 6  # gets smaller: a block that nobody runs is wrong sooner or later
RUN = [
    (page, column)
    for page in PAGES
    for column in columns(page)
    if page.name != "tutorial.md" and any(block.runs for block in blocks(page))
]  # tests/documentation/test_tutorial.py runs the tutorial
SCHEMAS = json.loads((DOCS / "openapi.json").read_text())["components"]["schemas"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service as `tangent serve` starts it, worker and all."""
    with started(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The service of the page, which holds nothing, and is left with nothing."""
    page = request.node.callspec.params["page"]
    if not has_service(page):
        yield None
        return
    url: str = request.getfixturevalue("served")
    yield url.removeprefix("http://")
    empty(url)


def empty(url: str) -> None:
    """Delete all that a page has left in the service."""
    with Client(url, progress=False) as client:
        for composition in list(client.compositions.each()):
            client.compositions.delete(composition.name)
        for component in list(client.components.each()):
            client.components.cancel(component.id) if component.status in RUNNING else None
        for space in list(client.spaces.each()):
            if space.name != "default":
                client.spaces.unlearn(space.name, cascade=True)
        for dataset in list(client.datasets.each()):
            client.datasets.unlearn(dataset.id, cascade=True)
        for component in list(client.components.each()):
            client.components.unlearn(component.id)


RUNNING = ("queued", "training")


@pytest.mark.parametrize(
    ("page", "column"),
    RUN,
    ids=[f"{page.stem}-{column}" if column else page.stem for page, column in RUN],
)
def test_the_blocks_of_a_page_run_as_they_are_shown(
    page: Path,
    column: str | None,
    address: str | None,
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    database = request.getfixturevalue("empty_postgres") if has_database(page) else None
    run = PageRun(tmp_path, address, database)
    try:
        for block in blocks(page):
            if block.runs and block.column in (None, column):
                run.run(block)
    finally:
        run.end()


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_a_block_names_its_language(block: Block):
    assert block.language in (*SHELL, *DATA, *PLAIN, "python"), f"{block} has a fence without one"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_code_stands_in_an_indented_block_which_nobody_would_run(page: Path):
    """Markdown takes four blanks after an empty line for code, except within a list."""
    indented = re.findall(
        r"(?:\A|\n\n)(?: {4}|\t)(?!- |\d+\. )\S.*", without_blocks(page.read_text())
    )
    assert not indented, f"{page.name} has code without a fence: {indented[0].strip()}"


@pytest.mark.parametrize("block", [each for each in SHOWN if each.language in DATA], ids=str)
def test_a_block_of_data_is_well_formed(block: Block):
    if block.language == "json":
        check_schema(json.loads(block.code), block.marks.get("schema"))
    elif block.language == "yaml":
        assert list(yaml.load_all(block.code, WithTags))
    elif block.language == "toml":
        assert tomllib.loads(block.code)
    elif block.language == "ini":
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read_string(block.code)
        assert parser.sections()
    else:
        assert block.code.count("{") == block.code.count("}") > 0


class WithTags(yaml.SafeLoader):
    """Reads YAML with tags of its readers' own, such as `!reset` of Docker Compose."""


WithTags.add_multi_constructor("!", lambda loader, _, node: loader.construct_sequence(node))


def check_schema(value: object, name: str | None) -> None:
    """Check a JSON value against a schema of the API's document."""
    if name is not None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
        Draft202012Validator(schema).validate(value)


NOT_RUN = [block for block in ALL if block.reason is not None]


@pytest.mark.parametrize("block", NOT_RUN, ids=str)
def test_a_block_that_is_not_run_says_why_and_can_be_read_by_its_language(block: Block):
    assert block.reason, f"{block} has no reason"
    if block.language in SHELL:
        read = ["bash", "-n", "-c", block.code]
        assert subprocess.run(read, capture_output=True, timeout=30).returncode == 0, block
    else:
        assert block.language == "python", f"{block} would not run anyway"
        ast.parse(block.code)


def test_the_blocks_that_are_not_run_get_fewer():
    assert len(NOT_RUN) <= MAX_NOT_RUN


def test_there_are_pages_and_blocks_to_run():
    assert len(RUN) >= 20
    assert sum(block.runs for block in SHOWN) >= 70
