"""The reference of the HTTP API, made from the OpenAPI document: a page a tag, and the schemas."""

from collections.abc import Iterator
from typing import Any

from documentation.headings import slug
from documentation.schema_text import cell, kind, table

METHODS = ("get", "post", "put", "patch", "delete")
SAYS_NOTHING = ("Successful Response", "Problem")
FOLDER = "http-api"
Document = dict[str, Any]


def pages(document: Document) -> dict[str, str]:
    """Return the pages by their files."""
    made = {f"{FOLDER}/index.md": _overview(document)}
    for tag in document["tags"]:
        made[f"{FOLDER}/{tag['name']}.md"] = _page(document, tag)
    made[f"{FOLDER}/schemas.md"] = _schemas(document["components"]["schemas"])
    return made


def entries(document: Document) -> list[tuple[str, str]]:
    """Return titles and files of the pages below the overview."""
    tags = [(title(tag["name"]), f"{FOLDER}/{tag['name']}.md") for tag in document["tags"]]
    return [*tags, ("Schemas", f"{FOLDER}/schemas.md")]


def title(tag: str) -> str:
    """Return a tag as people write it."""
    return tag.replace("-", " ").capitalize()


def _operations(document: Document, tag: str) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods and methods[method]["tags"] == [tag]:
                yield method.upper(), path, methods[method]


def _overview(document: Document) -> str:
    parts = ["# HTTP API", document["info"]["description"].strip()]
    parts.append(
        "The document itself is [openapi.json](../openapi.json); a running service shows it at "
        "`/docs`. "
        "Every answer but a success is a [problem](schemas.md#problem) with a `code`."
    )
    for tag in document["tags"]:
        name = tag["name"]
        rows = [
            (
                f"`{method} {path}`",
                f"[{each['summary']}]({name}.md#{slug(each['summary'])})",
                _scope(each),
            )
            for method, path, each in _operations(document, name)
        ]
        parts += [f"## {title(name)}", tag["description"], table(("route", "to", "scope"), rows)]
    return "\n\n".join(parts) + "\n"


def _scope(operation: Document) -> str:
    scope = operation.get("x-required-scope")
    return f"`{scope}`" if scope else "–"


def _page(document: Document, tag: Document) -> str:
    parts = [f"# {title(tag['name'])}", tag["description"]]
    for method, path, operation in _operations(document, tag["name"]):
        parts += [f"## {operation['summary']}", f"`{method} {path}`"]
        parts += [operation.get("description", "").strip()]
        parts += _parameters(operation)
        parts += _body(operation)
        parts += [_answers(operation)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _parameters(operation: Document) -> list[str]:
    found = operation.get("parameters", ())
    rows = [
        (
            f"`{each['name']}`",
            each["in"],
            kind(each["schema"]),
            cell(each.get("description", "")) + (" Required." if each.get("required") else ""),
        )
        for each in found
    ]
    return [table(("parameter", "in", "type", "meaning"), rows)] if rows else []


def _body(operation: Document) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {})
    rows = [(f"`{media}`", kind(each["schema"])) for media, each in content.items()]
    return [table(("body", "type"), rows)] if rows else []


def _answers(operation: Document) -> str:
    rows = []
    for status, answer in operation["responses"].items():
        if status == "default":
            continue
        for media, each in answer.get("content", {"": {}}).items():
            if media == "application/problem+json":
                meaning = ", ".join(f"`{code}`" for code in each.get("examples", {}))
            else:
                meaning = (
                    kind(each["schema"]) if each.get("schema") else (f"`{media}`" if media else "")
                )
            rows.append((f"`{status}`", meaning, _when(answer["description"])))
    return table(("status", "answer, or codes of the problem", "when"), rows)


def _when(description: str) -> str:
    """Return when an answer comes, if its description says more than its status."""
    return "" if description in SAYS_NOTHING else cell(description)


def _schemas(schemas: Document) -> str:
    parts = [
        "# Schemas",
        "The JSON of requests and answers. A type in italics is a schema of this page.",
    ]
    for name, schema in sorted(schemas.items()):
        parts += [f"## {name}", schema.get("description", "").strip()]
        required = schema.get("required", ())
        rows = [
            (
                f"`{member}`" + ("" if member in required else " (optional)"),
                kind(each),
                cell(each.get("description", "")),
            )
            for member, each in schema.get("properties", {}).items()
        ]
        parts.append(table(("member", "type", "meaning"), rows) if rows else kind(schema))
    return "\n\n".join(part for part in parts if part) + "\n"
