"""Every link of a page leads to a file, and to a heading in it, on a code host as on the site."""

import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest

from documentation.contents import sections
from documentation.headings import anchors
from tests.support.pages import PAGES, ROOT, without_blocks

EVERY_PAGE = [
    *PAGES,
    *(ROOT / name for name in ("CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@cache
def anchors_of(page: Path) -> frozenset[str]:
    return frozenset(anchors(page.read_text()))


def links(page: Path) -> list[str]:
    """The addresses that a page links, those in code left out."""
    return LINK.findall(re.sub(r"`[^`]*`", "", without_blocks(page.read_text())))


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_and_a_heading_in_it(page: Path):
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links {link}, and there is no {path}"
        assert target.is_relative_to(ROOT), f"{page.name} links {link} outside the repository"
        if anchor:
            assert target.suffix == ".md", f"{page.name} links {link}: only pages have headings"
            assert anchor in anchors_of(target), f"{page.name} links {link}: no such heading"


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.stem)
def test_no_link_to_the_outside_goes_without_encryption(page: Path):
    for link in links(page):
        assert not link.startswith("http://"), f"{page.name} links {link}"


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.stem)
def test_lists_and_tables_begin_after_an_empty_line_as_every_reader_of_markdown_needs_it(
    page: Path,
):
    lines = without_blocks(page.read_text()).splitlines()
    for before, line in pairwise(lines):
        if re.match(r"(- |\d+\. |\|)", line) and before.strip():
            begun = re.match(r"(\s|- |\d+\. |\|)", before) or before.startswith("#")
            assert begun, f"{page.name}: no empty line before {line!r}"


def test_the_navigation_of_the_site_is_the_index_of_the_pages():
    index = (ROOT / "docs" / "index.md").read_text()
    shown = [file for _, entries in sections(index) for _, file in entries]
    assert len(shown) == len(set(shown))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(shown)
