"""The folder that the site is built from: every page of `docs/`, and what is made for the site."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from documentation import (
    command_reference,
    contents,
    graphs,
    http_reference,
    markup,
    notebook,
    python_reference,
)

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PICTURES = "pictures"
PROJECT_PAGES = {
    "CONTRIBUTING.md": "Contributing",
    "SECURITY.md": "Security",
    "CHANGELOG.md": "Changes",
}
MOVED = {  # what a code host shows as it is -> its page on the site
    "tour.ipynb": "tour.md",
    "decisions": "decisions/index.md",
    "decisions/": "decisions/index.md",
    "figures": "concepts.md",
}
MADE = {  # after which file of the index: title, file, sentence
    "openapi.json": [
        ("HTTP API", "http-api/index.md", "Every route with its parameters, answers and codes."),
    ],
    "command-line.md": [
        ("Every command", "commands.md", "The arguments and options of each command."),
    ],
    "client.md": [
        ("The client, method by method", "python.md", "The docstrings of the Python client."),
        (
            "The library",
            "library.md",
            "The docstrings of `tangent`, the mathematics without a service.",
        ),
    ],
}


def write(folder: Path, pictures: Path | None = None) -> None:
    """Write the folder `pages`, and the site's configuration beside it.

    pictures: a folder with those of the page; without it, the pages show none.
    """
    pages = folder / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, pages)
    if pictures is not None:
        shutil.copytree(pictures, pages / PICTURES)
    index = contents.with_rows((DOCS / "index.md").read_text(), MADE) + _project_rows()
    document = json.loads((DOCS / "openapi.json").read_text())
    made = {
        "index.md": index,
        "tour.md": notebook.page((DOCS / "tour.ipynb").read_text(), "tour.ipynb"),
        "decisions/index.md": _decisions(),
        "commands.md": command_reference.page(),
        "python.md": python_reference.client_page(),
        "library.md": python_reference.library_page(),
        **http_reference.pages(document),
        **{name.lower(): (ROOT / name).read_text() for name in PROJECT_PAGES},
    }
    for name, text in made.items():
        path = pages / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for path in sorted(pages.rglob("*.md")):
        path.write_text(_as_on_the_site(path.read_text(), path, "http-api" not in path.parts))
    shutil.copy(ROOT / "documentation" / "site.css", pages)
    (folder / "zensical.toml").write_text(_configuration(index, document))


def _as_on_the_site(text: str, path: Path, is_written_by_hand: bool) -> str:
    if not is_written_by_hand:
        return text
    text = markup.with_pictures(text, _picture(path.parent))
    text = markup.with_graphs_drawn(markup.tabbed(text), _drawing(path))
    return markup.with_links(markup.without_comments(text), _place)


def _picture(folder: Path) -> Callable[[str], str | None]:
    """Return what finds the picture of a name from a page in this folder."""

    def find(name: str) -> str | None:
        file = f"{PICTURES}/{name}.png"
        return file if (folder / file).exists() else None

    return find


def _drawing(path: Path) -> Callable[[str], str]:
    """Return what draws a graph into a file beside the page, and returns the file's name."""
    count = 0

    def draw(graph: str) -> str:
        nonlocal count
        count += 1
        picture = path.with_name(f"{path.stem}-{count}.svg")
        picture.write_text(graphs.svg(graph))
        return picture.name

    return draw


def _place(address: str) -> str:
    """Return where a link of a page of docs/, or of the project, leads on the site."""
    file, mark, anchor = address.removeprefix("docs/").partition("#")
    file = file.lower() if file in PROJECT_PAGES else MOVED.get(file, file)
    return f"{file}{mark}{anchor}"


def _project_rows() -> str:
    sentences = (
        "How to take part, and what enforces which habit.",
        "How to report a weakness, and what the service defends against.",
        "What changed for users, version by version.",
    )
    rows = zip(PROJECT_PAGES.items(), sentences, strict=True)
    lines = [f"| [{title}]({name.lower()}) | {sentence} |" for (name, title), sentence in rows]
    return "\n".join(["", "## The project", "", "| page | what it says |", "|---|---|", *lines, ""])


def _decisions() -> str:
    lines = [
        "# Decisions",
        "",
        "What is hard to reverse, each with its reasons and alternatives.",
        "",
    ]
    for path in sorted((DOCS / "decisions").glob("*.md")):
        title = path.read_text().partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join([*lines, ""])


def _configuration(index: str, document: http_reference.Document) -> str:
    below = {
        "http-api/index.md": http_reference.entries(document),
        "decisions/index.md": [
            (path.stem, f"decisions/{path.name}")
            for path in sorted((DOCS / "decisions").glob("*.md"))
        ],
    }
    for old, new in MOVED.items():
        index = index.replace(f"]({old})", f"]({new})")
    text = (ROOT / "zensical.toml").read_text()
    return text.replace("nav = []", f"nav = {contents.navigation(index, below)}")
