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


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (("upload", ""), "argument 2"),
        (("train", ""), "argument 2"),
        (("predict", "a.png", ""), "argument 3"),
        (("batch-predict", "", "-o", "x.csv"), "argument 2"),
        (("find", ""), "argument 2"),
        (("fit", "--space", "space.card", "--data", ""), "argument 5"),
        (("fit", "--space=space.card", "--data="), "--data"),
        (("backup", ""), "argument 2"),
    ],
)
def test_an_empty_argument_is_not_the_current_folder(given, what, capsys):
    assert main(given) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"tangent: {what} is empty: ") and said.count("\n") == 1


def test_a_note_may_end_with_an_equals_sign(capsys, free_port):
    away = f"--url=http://127.0.0.1:{free_port}"
    assert main(["upload", "none.zip", "--metadata=formula=a=", away]) == 2
    assert "none.zip cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "tangent: no command was given (see `tangent --help`)\n"),
        ("space", "tangent: no command was given (see `tangent --help`)\n"),
        ("serve --bogus", "tangent: unrecognized arguments: --bogus (see `tangent --help`)\n"),
        ("serve --port x", "tangent: argument --port: invalid int value: 'x' (see `tangent serve "),
        ("backup", "tangent: the following arguments are required: file (see `tangent backup "),
        ("verify-component", "tangent: the following arguments are required: "),
    ],
)
def test_what_is_no_command_is_one_line(given, said, capsys):
    assert main(given.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith(said) and told.count("\n") == 1


def test_flags_of_the_service_are_read_by_the_service():
    done = subprocess.run([*COMMAND, "serve", "--prot", "1"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "unrecognized arguments: --prot 1" in done.stderr


@pytest.mark.parametrize("given", ["--help", "--version", "compare --help"])
def test_a_reader_that_has_seen_enough_is_no_fault(given):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, *given.split()], text=True, **pipes) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)


@pytest.mark.parametrize("given", ["--help", "--version", "compare --help"])
def test_output_that_finds_the_disk_full_is_one_line(given):
    with open("/dev/full", "w") as full:
        line = [*COMMAND, *given.split()]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
    said = "tangent: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)


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
