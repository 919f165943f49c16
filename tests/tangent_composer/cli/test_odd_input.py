"""What people type by mistake, or what names of files bring along: one line, and status 2."""

import os
from pathlib import Path

import pytest

from tangent_composer.cli.program import main
from tests.support.images import archive
from tests.support.local_training import as_folder
from tests.support.splits import files_of

LATIN = os.fsdecode(b"caf\xe9")  # as Python has an argument that is not in UTF-8
DEEP = "[" * 100_000

OF_A_SERVICE = [
    *(("train", "ds_1", "--set", f"l2={text}") for text in ("NaN", "-Infinity", "1e999", "[NaN]")),
    ("train", "ds_1", "--set", f"l2={DEEP}"),
    ("train", "ds_1", "--set", f"l2={LATIN}"),
    ("train", "ds_1", "--set", f"{LATIN}=1"),
    ("train", "ds_1", "--epsilon", "nan"),
    ("train", "ds_1", "--epsilon", "1", "--delta", "inf"),
    ("train", "ds_1", "--timeout", "nan"),
    ("train", "ds_1", "--metadata", f"a={LATIN}"),
    ("train", "ds_1", "--name", LATIN),
    ("train", f"ds_{LATIN}"),
    ("upload", "ok.zip", "--name", LATIN),
    ("upload", "ok.zip", "--metadata", f"{LATIN}=x"),
    ("upload", "latin"),
    ("upload", LATIN),
    ("predict", LATIN),
    ("predict", "none\x1b.png"),
    ("predict", "ok.png", "--component", "cmp_1=nan"),
    ("predict", "ok.png", "--component", "cmp_1=1e999"),
    ("predict", "ok.png", "--component", LATIN),
    ("predict", "ok.png", "--abstain-above", "nan"),
    ("predict", "ok.png", "--abstain-below", "-inf"),
    ("predict", "ok.png", "--space", LATIN),
    ("predict", "ok.png", "-c", LATIN),
    ("predict", "ok.png", "--top-k", "9" * 30),
    ("compose", LATIN),
    ("compose", "a\nb"),
    ("compose", "x", "cmp_1=inf"),
    ("compositions", LATIN),
    ("compositions", "a\x00b"),
    ("components", LATIN),
    ("components", "cmp_\n1"),
    ("components", "--label", LATIN),
    ("components", "--status", "none"),
    ("datasets", "ds_\x7f"),
    ("datasets", "--name", LATIN),
    ("wait", "cmp_\t1"),
    ("evaluate", LATIN),
    ("evaluate", "ds_1", "--split", LATIN),
    ("evaluate", "ds_1", "--component", "cmp_1=nan"),
    ("compare", "ds_1", "--before", "cmp_1=x", "--after", "cmp_2"),
    ("compare", "ds_1", "--before", LATIN, "--after", "b"),
    ("preview", "cmp_\n1"),
    ("preview", "cmp_1", "--dataset", LATIN),
    ("unlearn", "cmp_\n1", "--yes"),
    ("unlearn", "what", "--yes"),
    ("find", LATIN),
    ("find", "ok.png", "--distance", "9" * 30),
    ("receipts", "rcpt_\n1"),
    ("receipts", LATIN, "--verify"),
    ("space", "get", LATIN),
    ("space", "get", "a\nb"),
    ("import", "ok.png", "--name", LATIN),
    ("import", LATIN),
    ("datasets", "--url", "http://["),
    ("datasets", "--url", "http://a:b"),
    ("datasets", "--url", "http://a\x1b"),
    ("datasets", "--url", f"http://{LATIN}"),
    ("login", "http://[", "--no-key"),
    ("login", "http://a:99999999", "--no-key"),
]
OF_A_TRAINING = [
    *(("--limit", f"max_labels={text}") for text in ("abc", "true", "null", "[1]", "NaN", "0")),
    ("--limit", "max_labels=0.5"),
    ("--limit", "max_decode_seconds=1e999"),
    *(("--set", f"l2={text}") for text in ("abc", "NaN", "-1", "null", "true", "[1]", "{}")),
    ("--set", f"{LATIN}=1"),
    ("--set", "epochs=1.5"),
    ("--set", f"solver={LATIN}"),
    ("--seed", "-1"),
    ("--seed", "9" * 30),
    ("--epsilon", "nan"),
    ("--epsilon", "-1"),
    ("--epsilon", "1", "--delta", "nan"),
    ("--epsilon", "1", "--delta", "2"),
    ("--epsilon", "1", "--unit", "pixel"),
    ("--epsilon", "1", "--mechanism", "magic"),
    ("--epsilon", "1", "--label", LATIN),
    ("--epsilon", "1", "--label", ""),
    ("--label", "cat"),
    ("--min-per-label", "-1"),
    ("--code-page", "klingon"),
    ("--code-page", "hex"),
    ("--device", "abacus"),
    ("--device", "cuda:x"),
    ("--threads", "-1"),
    ("--threads", "9" * 30),
    ("--scratch", "nowhere"),
    ("--output", "nowhere/x.safetensors"),
    ("--output", "."),
    ("--space", LATIN),
    ("--data", LATIN),
]


@pytest.fixture
def tangent(service, capsys, monkeypatch, tmp_path):
    """Runs a command in a folder of odd and ordinary files."""
    monkeypatch.setenv("TANGENT_URL", service.url)
    monkeypatch.chdir(tmp_path)
    Path("ok.zip").write_bytes(archive({"cat": 2}))
    Path("ok.png").write_bytes(files_of({"": {"cat": 1}})["cat/0.png"])
    as_folder({"cat/1.png": b"x"}, tmp_path / "latin")
    Path("latin", "cat", f"{LATIN}.png").write_bytes(b"x")

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(each) for each in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("command", OF_A_SERVICE, ids=lambda command: ascii(" ".join(command))[:60])
def test_odd_input_for_a_service_is_one_line(tangent, monkeypatch, command):
    monkeypatch.setattr("tangent_composer.client.blocking.transport.pause", lambda seconds: None)
    status, out, err = tangent(*command)
    assert (status, out) == (2, ""), err
    assert err.startswith("tangent: ") and err.count("\n") == 1
    assert err[:-1].isprintable()


@pytest.mark.parametrize("given", OF_A_TRAINING, ids=lambda given: ascii(" ".join(given))[:60])
def test_odd_input_for_a_training_is_one_line(tangent, tmp_path, given):
    as_folder(files_of({"": {"cat": 3, "dog": 3}}), tmp_path / "data")
    if not Path("space.card").exists():
        assert tangent("space", "get")[0] == 0
    settings = {"--space": "space.card", "--data": "data", "--output": "x.safetensors"}
    settings |= dict(zip(given[::2], given[1::2], strict=True))
    status, out, err = tangent("fit", *(each for pair in settings.items() for each in pair))
    assert (status, out) == (2, ""), err
    assert err.startswith("tangent: ") and err.count("\n") == 1
    assert err[:-1].isprintable()
    assert not Path("x.safetensors").exists()
