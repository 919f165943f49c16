"""What others have named cannot steer a terminal; what people write in any language stays."""

import ast
import io
import json
import sys
import unicodedata
from pathlib import Path

import pytest

from tangent_composer import labels
from tangent_composer.cli.output import show_facts, show_json, show_table, told
from tangent_composer.cli.program import main
from tangent_composer.client.progress import Step, shown
from tangent_composer.terminal import REPLACEMENT, clean, one_line, say

ROOT = Path(__file__).resolve().parents[2]
FILES = [*ROOT.glob("tangent_composer/cli/*.py"), *ROOT.glob("app/cli/*.py")]
# These clean each cell, or print nothing of others.
CLEANING = ("output", "key_commands", "audit_command", "listeners", "api_process")
EVIL = "\x1b]0;evil\x07"
HARMLESS = (
    "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}",
    "می\N{ZERO WIDTH NON-JOINER}خواهم",
    "क्\N{ZERO WIDTH JOINER}ष",
    "a\N{LEFT-TO-RIGHT MARK}b",
    "naïve 猫",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_a_label_may_hold_is_shown_as_it_is(text):
    assert labels.fault(text) is None
    assert clean(text) == told(text) == text


def test_every_control_surrogate_and_direction_control_is_replaced():
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for each in map(chr, range(0x11000)):
        category, direction = unicodedata.category(each), unicodedata.bidirectional(each)
        steers = category in ("Cc", "Cs", "Zl", "Zp") or direction in turning
        assert (clean(each) == REPLACEMENT) == (steers or each == REPLACEMENT), ascii(each)


def test_nothing_that_is_printed_steers(capsys):
    show_facts([(f"name {EVIL}", f"value {EVIL}")])
    show_table(("head",), [[f"cell {EVIL}"]])
    show_json({"text": EVIL, "c1": "\x9b31m", "turned": "\u202e", "half": "\ud800"})
    say(f"one {EVIL}\ntwo")
    out = capsys.readouterr().out
    assert not set(out.replace("\n", "")) & set("\x1b\x07\x9b\u202e\ud800")
    assert out.endswith(f"one {REPLACEMENT}]0;evil{REPLACEMENT}{REPLACEMENT}two\n")
    assert one_line(f"a\n\tb {EVIL}") == f"a b {REPLACEMENT}]0;evil{REPLACEMENT}"


def test_json_means_what_it_meant(capsys):
    given = {"text": EVIL + "\x7f\x9b\u2028\u202e", "rest": list(HARMLESS)}
    show_json(given)
    assert json.loads(capsys.readouterr().out) == given


def test_a_refusal_is_clean(capsys):
    assert main(["datasets", "--url", f"http://{EVIL}"]) == 2
    assert main([f"fly{EVIL}"]) == 2
    assert main(["predict", f"none{EVIL}.png"]) == 2
    err = capsys.readouterr().err
    assert "evil" in err and err.count("\n") == 3
    assert err.replace("\n", "").isprintable()


def test_progress_shows_names_as_they_are_written(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with shown(True, f"uploading [/x] {EVIL}") as report:
        report(Step(1, 2, f"[red]{EVIL}"))
    assert "\x1b]0;evil" not in sys.stderr.getvalue()


def test_a_terminal_that_has_fewer_characters_gets_those_it_has(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    main(["--version"])
    say("猫 –")
    assert written.getvalue().endswith(b"\\u732b \\u2013\n")


@pytest.mark.parametrize(
    "file",
    [*ROOT.glob("tangent_composer/cli/*.py"), *ROOT.glob("app/cli/*.py")],
    ids=lambda f: f.name,
)
def test_commands_print_by_the_one_function_that_cleans(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        assert name != "typer.echo", f"line {node.lineno}: call say"
        if name == "print":
            assert file.stem in CLEANING, f"line {node.lineno}: call say"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.99997, "0.9999"), (0.9999999, "0.9999"), (-0.99999, "-0.9999"), (1.0, "1"), (0.5, "0.5")],
)
def test_less_than_one_is_never_shown_as_one(value, text):
    assert told(value) == text
