"""The reference of the commands of `tangent`, made from the parsers that read them."""

import argparse
from collections.abc import Iterator
from typing import Any

import typer

from app.cli.commands import parser as service_parser
from documentation.schema_text import cell, table
from tangent_composer.cli.program import program
from tangent_composer.cli.service_commands import COMMANDS as OF_SERVICE

HEADS = ("argument", "meaning")


def page() -> str:
    """Return the page."""
    parts = [
        "# Every command",
        "Made from the commands themselves. [The command line](command-line.md) tells their "
        "habits, and `tangent COMMAND --help` shows the same in a terminal.",
        "## Work with a service",
    ]
    commands = dict(_leaves(typer.main.get_command(program()), "tangent"))
    for name, command in commands.items():
        if name.split()[1] not in OF_SERVICE:
            parts += [f"### {name}", _sentence(command.help or ""), _arguments(command)]
    parts.append("## Run a service")
    for name, sub, sentence in _parsers(service_parser(), "tangent"):
        if name.split()[1] in OF_SERVICE:
            parts += [f"### {name}", _sentence(sentence), _actions(sub)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for each in inner.values():
        yield from _leaves(each, f"{name} {each.name}")


def _arguments(command: Any) -> str:
    rows = []
    for each in command.params:
        if getattr(each, "hidden", False):
            continue
        if each.param_type_name == "argument":
            shown = f"`{each.metavar or each.name.upper()}`" + (
                "" if each.required else " (optional)"
            )
        else:
            value = "" if each.is_flag else f" {(each.metavar or each.name).upper()}"
            shown = ", ".join(f"`{flag}{value}`" for flag in (*each.opts, *each.secondary_opts))
        rows.append((shown, cell(getattr(each, "help", None) or "")))
    return table(HEADS, rows) if rows else ""


def _parsers(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, Any, str]]:
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        sentences = {each.dest: each.help or "" for each in action._choices_actions}
        for word, sub in action.choices.items():
            inner = list(_parsers(sub, f"{name} {word}"))
            yield from inner or [(f"{name} {word}", sub, sentences.get(word, ""))]


def _actions(parser: argparse.ArgumentParser) -> str:
    rows = []
    for each in parser._actions:
        if each.help == argparse.SUPPRESS or isinstance(each, argparse._HelpAction):
            continue
        value = "" if each.nargs == 0 else f" {each.metavar or each.dest.upper()}"
        flags = ", ".join(f"`{flag}{value}`" for flag in each.option_strings)
        rows.append((flags or f"`{each.metavar or each.dest.upper()}`", cell(each.help or "")))
    return table(HEADS, rows) if rows else ""


def _sentence(text: str) -> str:
    line = " ".join(text.split())
    line = line[:1].upper() + line[1:]
    return line if line.endswith(".") else f"{line}."
