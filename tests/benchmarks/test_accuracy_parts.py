"""The parts of the accuracy benchmark: processes side by side, each with its words and its file."""

import platform

import pytest
from rich.console import Console

from benchmarks.accuracy import __main__ as command
from benchmarks.accuracy import parts
from benchmarks.interleaved import RESULTS


def words(*given: str) -> list[str]:
    return [*given, "--fashion-mnist", "garments"]


def test_a_part_writes_to_its_own_file_unless_it_writes_where_the_documents_read(tmp_path):
    args = command.arguments(words("--photos", "photos.tar"))
    for name, (module, _, file) in parts.PARTS.items():
        given = parts.command_of(name, args, tmp_path)
        assert given[1:3] == ["-m", module] and given[-2:] == ["--out", str(tmp_path / file)]
        assert "--out" not in parts.command_of(name, args, RESULTS)
        assert {"garments", "photos.tar"} & set(given)


def test_a_part_without_its_images_is_named_and_the_others_are_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(
        parts,
        "PARTS",
        {
            "first": ("platform", lambda args: ["--terse"], "first.json"),
            "second": ("platform", lambda args: None, "second.json"),
            "third": ("benchmarks.missing", lambda args: [], "third.json"),
            "fourth": ("platform", lambda args: [], "fourth.json"),
        },
    )
    console = Console(record=True, width=120, file=(tmp_path / "out").open("w"))
    failed = parts.measure(["first", "second", "third"], command.arguments([]), RESULTS, console)
    console.file.close()
    shown = console.export_text()
    assert failed == ["third"]
    assert "NOT MEASURED: second" in shown and "No module named benchmarks.missing" in shown
    assert platform.platform(aliased=True, terse=True) in shown
    assert "fourth" not in shown


def test_a_failed_part_fails_the_command(monkeypatch):
    monkeypatch.setattr(parts, "PARTS", {"bytes": ("benchmarks.missing", lambda args: [], "b")})
    args = command.arguments(["--parts", "bytes"])
    with pytest.raises(SystemExit, match="not measured, because they failed: bytes"):
        command.measure(args, Console(quiet=True))
