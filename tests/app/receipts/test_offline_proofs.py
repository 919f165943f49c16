"""Checkpoints and proofs are checked offline; every changed byte of any of the files is found."""

import hashlib
import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli import main
from app.receipts import signing
from tangent_composer.receipts import checkpoint
from tangent_composer.receipts.checkpoint import BadCheckpoint
from tangent_composer.receipts.offline import BadLedger, read
from tangent_composer.receipts.offline_proofs import (
    check_consistency,
    check_inclusion,
    read_consistency,
    read_inclusion,
)
from tests.support import ledgers
from tests.support.ledgers import KEYS, OTHER, PRIVATE, ledger, lines

SIZE, OLD = 11, 6
RECEIPTS = ledger(None, *[PRIVATE] * (SIZE - 1))
ENTRIES = tuple(receipt["hash"].encode() for receipt in RECEIPTS)


note = partial(ledgers.note, ENTRIES)
inclusion = partial(ledgers.inclusion, ENTRIES)
growth = partial(ledgers.growth, ENTRIES, OLD)


def from_nothing(second: int) -> dict[str, Any]:
    return {"first": 0, "second": second, "hashes": []}


FILES = {
    "receipt": lines([RECEIPTS[4]]),
    "inclusion": json.dumps(inclusion(4)),
    "old": note(OLD),
    "consistency": json.dumps(growth()),
    "new": note(SIZE),
}


def faults(files: dict[str, str]) -> list[str]:
    """Return what the checks say of such files."""
    keys = KEYS.values()
    try:
        old, new = (checkpoint.read(files[name], keys) for name in ("old", "new"))
        (receipt,) = read([("receipt", files["receipt"])])
        proof = read_inclusion("inclusion", files["inclusion"])
        found = check_inclusion(receipt, proof, new, KEYS)
        return found + check_consistency(old, read_consistency("c", files["consistency"]), new)
    except (BadLedger, BadCheckpoint) as error:
        return [str(error)]


def says_the_same(name: str, text: str) -> bool:
    """Return whether the changed text is the same JSON: white space is no content."""
    try:
        return json.loads(text) == json.loads(FILES[name])
    except ValueError:
        return False


def test_sound_files_hold():
    assert faults(FILES) == []
    for size in range(1, SIZE + 1):
        for index in range(size):
            files = FILES | {"receipt": lines([RECEIPTS[index]]), "new": note(size)}
            files["inclusion"] = json.dumps(inclusion(index, size))
            files |= {"old": note(0), "consistency": json.dumps(from_nothing(size))}
            assert faults(files) == [], (index, size)


@pytest.mark.parametrize("name", FILES)
def test_every_byte_of_every_file_is_guarded(name):
    content = FILES[name].encode()
    for place, byte in enumerate(content):
        for bit in (1, 32):
            changed = content[:place] + bytes([byte ^ bit]) + content[place + 1 :]
            try:
                text = changed.decode()
            except UnicodeDecodeError:
                continue
            assert faults(FILES | {name: text}) or says_the_same(name, text), (place, bit)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_byte_changed_dropped_or_added_anywhere_is_found(data):
    name = data.draw(st.sampled_from(list(FILES)))
    content = FILES[name].encode()
    place = data.draw(st.integers(0, len(content) - 1))
    instead = data.draw(st.binary(max_size=2))
    changed = content[:place] + instead + content[place + 1 :]
    try:
        text = changed.decode()
    except UnicodeDecodeError:
        return
    same = text == FILES[name] or says_the_same(name, text)
    assert same or faults(FILES | {name: text})


def test_a_checkpoint_may_carry_signatures_of_witnesses_and_lines_of_its_log():
    ours = note(SIZE)
    theirs = note(SIZE, OTHER).split("\n\n")[1]

    assert checkpoint.read(ours + theirs, KEYS.values()).size == SIZE
    assert checkpoint.read(note(SIZE, more="more\n"), KEYS.values()).size == SIZE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no empty line"),
        (note(SIZE).replace("\n", "\r\n"), "control characters"),
        (note(SIZE)[:-1], "no empty line and signature"),
        (note(SIZE).replace("\n11\n", "\n011\n"), "no decimal size"),
        (note(SIZE).replace("\n11\n", "\n١١\n"), "no decimal size"),
        (note(SIZE).replace("\n11\n", "\n12\n"), "not by the key"),
        (note(SIZE, OTHER), "none of the given keys"),
        (note(SIZE, origin="other").replace("other\n", "tangent\n"), "none of the given keys"),
        (note(SIZE) + "— x\n", "no signature of a note"),
        (note(SIZE) + "\n", "no empty line|no signature of a note|not by|line each"),
        ("x" * 2**21, "more than 1048576 characters"),
        (note(SIZE, more="\n"), "a line each"),
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused_with_the_reason(text, message):
    with pytest.raises(BadCheckpoint, match=message):
        checkpoint.read(text, KEYS.values())


def test_a_log_that_was_rewritten_does_not_continue_the_checkpoint_that_was_noted():
    """Whoever has the key can sign another ledger; the earlier checkpoint shows it."""
    other = tuple(hashlib.sha256(entry).hexdigest().encode() for entry in ENTRIES)
    forged, theirs = ledgers.note(other, SIZE), ledgers.growth(other, OLD)

    for proof in (growth(), theirs):
        found = faults(FILES | {"new": forged, "consistency": json.dumps(proof)})
        assert "the new checkpoint does not continue the old one" in found


def test_checkpoints_of_two_logs_have_nothing_in_common():
    found = faults(FILES | {"old": note(OLD, origin="another")})

    assert found == [f"the checkpoints are of two logs: another and {ledgers.ORIGIN}"]


def command(folder: Any, files: dict[str, str], *flags: str) -> int:
    """Run the command; a flag that is a name of a file stands for its path."""
    pem = PRIVATE.public_key().public_bytes(
        signing.serialization.Encoding.PEM, signing.serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for name, text in (files | {"key": pem.decode(), "all": lines(RECEIPTS)}).items():
        (folder / name).write_text(text)
    names = {path.name: str(path) for path in folder.iterdir()}
    return main(["verify-receipts", *(names.get(flag, flag) for flag in flags)])


TRUST = ("--public-key", "key", "--checkpoint", "new")
GROWTH = ("--old-checkpoint", "old", "--consistency", "consistency")


def test_the_command_says_in_a_line_what_holds(tmp_path, capsys):
    assert command(tmp_path, FILES, "receipt", "--inclusion", "inclusion", *TRUST, *GROWTH) == 0
    assert capsys.readouterr().out.split("\n") == [
        f"the checkpoint over 11 receipts of {ledgers.ORIGIN} is signed",
        "it continues the one over 6 receipts",
        "it holds rcpt_5",
        "",
    ]
    assert command(tmp_path, FILES, "all", *TRUST) == 0
    assert "11 receipts are valid, 10 signed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "flags", "message"),
    [
        ({"new": note(SIZE, OTHER)}, ("all",), "is no checkpoint to trust: none of the given keys"),
        ({"new": note(SIZE - 1)}, GROWTH, "the proof leads from 6 to 11: ask for ?first=6&sec"),
        ({"new": note(5)}, ("receipt", "--inclusion", "inclusion"), "ask for ?size=5"),
        ({}, ("all", "--inclusion", "inclusion"), "give one proof for each receipt"),
        ({}, ("receipt", "--inclusion", "consistency"), "is no such proof"),
        ({"inclusion": "{"}, ("receipt", "--inclusion", "inclusion"), "is no JSON"),
        ({"some": lines(RECEIPTS[:9])}, ("some",), "over 11 receipts, and 9 are given"),
    ],
)
def test_the_command_ends_with_1_and_a_sentence(tmp_path, capsys, changed, flags, message):
    assert command(tmp_path, FILES | changed, *flags, *TRUST) == 1
    assert message in capsys.readouterr().out


def test_a_ledger_that_was_forged_whole_is_not_the_checkpoint_s(tmp_path, capsys):
    other = ledger(None, *[PRIVATE] * (SIZE - 1), body={"version": 2})

    assert command(tmp_path, FILES | {"other": lines(other)}, "other", *TRUST) == 1
    assert capsys.readouterr().out == "the receipts are not those of the checkpoint\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give files with receipts"),
        (("receipt", "--inclusion", "inclusion"), "a proof needs --checkpoint"),
        (("--checkpoint", "new"), "--checkpoint needs --public-key"),
        (("--old-checkpoint", "old", *TRUST), "go together"),
        (("--inclusion", "inclusion", *TRUST), "--inclusion needs files"),
        (("receipt", "--inclusion", "inclusion", "--head", "ab", *TRUST), "goes without --head"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path, capsys, flags, message):
    assert command(tmp_path, FILES, *flags) == 2
    assert message in capsys.readouterr().err
