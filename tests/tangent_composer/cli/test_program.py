"""The program itself: its help, its completion, its version, and what it hands on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from app.settings import Settings
from tangent_composer.cli.program import main, program

COMMAND = [sys.executable, "-m", "tangent_composer.cli"]


def test_every_command_of_the_service_is_there_too(capsys):
    from app.cli.commands import COMMANDS

    main(["--help"])
    shown = {line.split()[1] for line in capsys.readouterr().out.splitlines() if "│ " in line}
    assert set(COMMANDS) <= shown


def test_the_page_of_the_command_line_lists_every_command():
    page = (Path(__file__).resolve().parents[3] / "docs" / "command-line.md").read_text()
    table = page[page.index("| to | commands |") : page.index("## Habits")]
    groups = typer.main.get_command(program()).commands
    names = {
        f"{name} {inner}".strip()
        for name, command in groups.items()
        for inner in getattr(command, "commands", {"": None})
    }
    listed = re.findall(r"`([a-z][a-z -]+)`", re.sub(r"extra `[a-z]+`|;.*", "", table))
    assert sorted(listed) == sorted(names)


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_the_help_of_what_serves_lists_every_setting_with_its_default(command):
    done = subprocess.run([*COMMAND, command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for name, field in Settings.model_fields.items():
        line = next(
            line for line in done.stdout.splitlines() if f"TANGENT_{name.upper()} " in f"{line} "
        )
        assert field.default is None or str(field.default) in line, name


def test_flags_of_the_service_are_read_by_the_service():
    done = subprocess.run([*COMMAND, "serve", "--prot", "1"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "unrecognized arguments: --prot 1" in done.stderr


def test_shells_can_complete_its_commands():
    typed = {"COMP_WORDS": "tangent up", "COMP_CWORD": "1"}
    variables = {"_TANGENT_COMPLETE": "complete_bash"} | typed
    command = [sys.executable, "-c", "from tangent_composer.cli.program import main; main()"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    assert done.stdout.split() == ["upload"]


def test_samples_are_written(tmp_path, capsys):
    assert main(["sample", "digits", str(tmp_path / "digits")]) == 0
    assert "5 archives and 355 held-out images" in capsys.readouterr().out
    assert len(list((tmp_path / "digits" / "held-out").glob("*.png"))) == 355
    assert main(["sample", "digits", "/proc/nope"]) == 2
    assert capsys.readouterr().err.startswith("tangent: /proc/nope cannot be written: ")
