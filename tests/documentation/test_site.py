"""What the site's pages are made of: tabs, drawn graphs, links, references, without comments."""

import json
import re
import shutil
import tomllib

import pytest

from documentation import contents, graphs, http_reference, markup, notebook, source
from documentation.__main__ import built
from documentation.headings import anchors
from documentation.schema_text import cell, kind
from tests.support.pages import DOCS, ROOT

DOCUMENT = json.loads((DOCS / "openapi.json").read_text())
ALTERNATIVES = """Before.

<!-- tabs -->
**Shell**

<!-- prints: x -->
```sh
echo x
```

**Python**

```python
print("x")
```
<!-- /tabs -->

After.
"""


def test_alternatives_become_tabs_with_the_blocks_as_they_are():
    assert markup.tabbed(ALTERNATIVES) == (
        'Before.\n\n=== "Shell"\n\n    ```sh\n    echo x\n    ```\n\n'
        '=== "Python"\n\n    ```python\n    print("x")\n    ```\n\n\nAfter.\n'
    )


def test_alternatives_that_begin_without_a_title_are_refused():
    with pytest.raises(ValueError, match="tabs begin with a title in bold, not with 'lost'"):
        markup.tabbed("<!-- tabs -->\nlost\n\n**Shell**\n\n<!-- /tabs -->")


def test_comments_go_except_within_blocks_of_code():
    text = "a <!-- b -->\n<!-- c -->\n```text\n<!-- d -->\n```\n"
    assert markup.without_comments(text) == "a \n```text\n<!-- d -->\n```\n"


def test_links_are_moved_except_within_blocks_of_code():
    text = "[a](b.md#c)\n```text\n[a](b.md)\n```\n"
    moved = markup.with_links(text, lambda address: address.upper())
    assert moved == "[a](B.MD#C)\n```text\n[a](b.md)\n```\n"


def test_headings_have_the_anchors_of_a_code_host():
    text = (
        "# A `b` c, d!\n\n## Größe\n\n## A [link](x.md)\n\n## Größe\n\n```sh\n# no heading\n```\n"
    )
    assert list(anchors(text)) == ["a-b-c-d", "größe", "a-link", "größe-1"]


def test_the_graphs_of_the_architecture_are_drawn_with_every_room_and_arrow():
    page = (DOCS / "architecture.md").read_text()
    texts = markup.GRAPH.findall(page)
    assert len(texts) == 2
    for text in texts:
        graph, drawn = graphs.Graph.parsed(text), graphs.svg(text)
        assert drawn.count("marker-end=") == len(graph.arrows) > 10
        for name in graph.names.values():
            assert f">{name}</text>" in drawn


def test_a_room_stands_below_all_whose_arrows_lead_to_it():
    graph = graphs.Graph.parsed((markup.GRAPH.findall((DOCS / "architecture.md").read_text()))[0])
    storey = {room: n for n, row in enumerate(graph.storeys()) for room in row}
    assert all(storey[start] < storey[end] for start, end in graph.arrows)


def test_a_graph_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="this line of a graph is not known: 'sequenceDiagram'"):
        graphs.Graph.parsed("sequenceDiagram")


def test_the_navigation_can_be_read_and_has_the_pages_below_their_page():
    index = "# I\n\n## One\n\n| page | what |\n|---|---|\n| [A](a.md) | x. |\n| [B](b.md) | y. |\n"
    nav = tomllib.loads(f"nav = {contents.navigation(index, {'b.md': [('C', 'c.md')]})}")["nav"]
    assert nav == [
        {"Overview": "index.md"},
        {"One": [{"A": "a.md"}, {"B": ["b.md", {"C": "c.md"}]}]},
    ]


def test_every_operation_and_schema_of_the_document_is_on_a_page():
    pages = http_reference.pages(DOCUMENT)
    text = "\n".join(pages.values())
    for path, methods in DOCUMENT["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text
    for name in DOCUMENT["components"]["schemas"]:
        assert f"\n## {name}\n" in pages["http-api/schemas.md"]
    assert {file for _, file in http_reference.entries(DOCUMENT)} | {"http-api/index.md"} == set(
        pages
    )


def test_a_type_is_said_in_words():
    shown = kind({"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 3})
    assert shown == "list of integer, ≥ 1, at most 3"
    assert kind({"anyOf": [{"$ref": "#/components/schemas/Live"}, {"type": "null"}]}) == (
        "[*Live*](schemas.md#live) or null"
    )
    assert cell("a | b\nof *all* `x|y`") == r"a \| b of \*all\* `x\|y`"


def test_a_notebook_becomes_a_page_with_its_code_in_blocks():
    page = notebook.page((DOCS / "tour.ipynb").read_text(), "tour.ipynb")
    cells = json.loads((DOCS / "tour.ipynb").read_text())["cells"]
    assert page.count("```python") == sum(each["cell_type"] == "code" for each in cells)
    assert page.startswith("# A tour of Tangent Composer")
    assert "[The notebook as a file](tour.ipynb)" in page


def test_the_folder_of_the_site_has_every_page_without_comments_and_broken_links(tmp_path):
    folder = tmp_path / "site"
    source.write(folder)
    pages = folder / "pages"
    config = tomllib.loads((folder / "zensical.toml").read_text())["project"]
    named = set(re.findall(r"'([\w/.-]+\.md)'", str(config["nav"])))
    assert {str(path.relative_to(pages)) for path in pages.rglob("*.md")} == named
    for path in pages.rglob("*.md"):
        text = markup.outside_code(path.read_text(), lambda part: re.sub(r"`[^`]*`", "", part))
        assert "<!--" not in re.sub(r"```.*?```", "", text, flags=re.S), path
        for link in re.findall(r"\]\(([^)\s#]+)", re.sub(r"```.*?```", "", text, flags=re.S)):
            if not link.startswith(("http", "mailto:")):
                assert (path.parent / link).exists(), f"{path} links {link}"


def test_every_command_is_in_the_reference():
    from documentation import command_reference
    from tangent_composer.cli.service_commands import COMMANDS

    page = command_reference.page()
    for name in ("train", "predict", "space get", "what-leaves", "keys create", "spaces retrain"):
        assert f"### tangent {name}\n" in page
    for name in COMMANDS:
        assert f"### tangent {name}" in page


@pytest.mark.parametrize(
    ("link", "status"),
    [("[it](limits.md#load)", 0), ("[it](limits.md#nowhere)", 1), ("[it](nowhere.md)", 1)],
)
def test_the_site_is_built_only_if_every_link_leads_somewhere(tmp_path, link: str, status: int):
    folder, site = tmp_path / "source", tmp_path / "site"
    (folder / "pages").mkdir(parents=True)
    shutil.copy(ROOT / "documentation" / "site.css", folder / "pages")
    (folder / "pages" / "index.md").write_text(f"# Index\n\n{link}\n")
    (folder / "pages" / "limits.md").write_text("# Limits\n\n## Load\n")
    (folder / "zensical.toml").write_text((ROOT / "zensical.toml").read_text())
    assert built(folder, site) == status
    assert site.exists() == (status == 0)
    if site.exists():
        asked = re.findall(
            r'(?:src|<link [^>]*href)="(https?:[^"]*)"', (site / "index.html").read_text()
        )
        assert not asked, "the site asks others"
