"""The offline verifier accepts sound ledgers and notices every changed byte."""

import copy
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli import main
from app.receipts import signing
from tangent_composer.canonical_json import canonical
from tangent_composer.receipts import signatures
from tangent_composer.receipts.offline import BadLedger, check, read
from tests.support.ledgers import KEYS, OTHER, PRIVATE, ledger, lines


def page(receipts: list[dict[str, Any]], more: bool = False) -> dict[str, Any]:
    return {"data": receipts, "has_more": more, "next": receipts[-1]["id"] if more else None}


def test_a_sound_ledger_holds_in_every_form_it_is_saved_in():
    receipts = ledger(None, None, PRIVATE, PRIVATE)
    first, second = page(receipts[:3], more=True), page(receipts[3:])
    forms = [
        [lines(receipts)],
        [lines(receipts) + "\n\n"],
        [json.dumps(receipts)],
        [json.dumps(page(receipts), indent=2)],
        [json.dumps(first) + "\n" + json.dumps(second)],
        [json.dumps(first, indent=1), json.dumps(second)],
        [lines(receipts[:1]), lines(receipts[1:])],
    ]
    for texts in forms:
        found = read([(f"file {at}", text) for at, text in enumerate(texts)])
        assert found == receipts
        assert check(found, KEYS, head=receipts[1]["hash"]) == []
        assert check(found, {}) == []


SOUND = ledger(None, PRIVATE, PRIVATE)
TEXT = lines(SOUND).encode()


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_a_single_byte_changed_anywhere_is_found(place, byte):
    changed = TEXT[:place] + bytes([byte]) + TEXT[place + 1 :]
    try:
        found = read([("file", changed.decode())])
    except (UnicodeDecodeError, BadLedger):
        return
    # White space between values is no content: what is read must be the very same then.
    assert found == SOUND or check(found, KEYS)


def test_every_single_hex_digit_and_letter_is_guarded():
    """Every place is changed once, to the nearest other character that is allowed there."""
    for place, byte in enumerate(TEXT):
        changed = TEXT[:place] + bytes([byte ^ 1]) + TEXT[place + 1 :]
        try:
            found = read([("file", changed.decode())])
        except (UnicodeDecodeError, BadLedger):
            continue
        assert found == SOUND or check(found, KEYS), place


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_dropped_swapped_and_repeated_receipts_are_found(data):
    order = data.draw(st.lists(st.integers(0, 2), max_size=4))
    found = [SOUND[at] for at in order]
    head = SOUND[-1]["hash"]

    assert (check(found, KEYS, head=head) == []) == (order == [0, 1, 2])


def forged(receipts: list[dict[str, Any]], at: int, **members: Any) -> list[dict[str, Any]]:
    """Return a ledger forged from one receipt on, with every hash recomputed."""
    changed = copy.deepcopy(receipts)
    changed[at] |= members
    for number in range(at, len(changed)):
        each = changed[number]
        each["previous_hash"] = changed[number - 1]["hash"] if number else "0" * 64
        sealed = {key: each[key] for key in each if key not in ("hash", "signature")}
        each["hash"] = hashlib.sha256(canonical(sealed)).hexdigest()
    return changed


def test_a_ledger_with_all_hashes_recomputed_fails_by_its_signatures():
    changed = forged(SOUND, 0, body={"version": 2})

    assert check(changed, {}) == []  # what hashes alone can tell
    assert [fault.split(") ")[1] for fault in check(changed, KEYS)] == [
        "has a signature that is not by its key"
    ] * 2


def test_removed_signatures_are_a_fault():
    bare = [{k: v for k, v in each.items() if k not in ("key_id", "signature")} for each in SOUND]
    bare = forged(bare, 0)
    assert check(bare, {}) == [] and check(bare, KEYS) == ["no receipt is signed"]

    last = forged([*SOUND[:2], bare[2]], 2)
    assert check(last, KEYS) == ["receipt 3 (rcpt_3) is not signed, but one before it is"]


def test_a_signature_by_a_key_that_was_not_given_is_none():
    faults = check(ledger(PRIVATE, OTHER), KEYS)

    key_id = signatures.key_id_of(OTHER.public_key())
    assert faults == [f"receipt 2 (rcpt_2) is signed by a key that was not given: {key_id}"]
    both = KEYS | {key_id: OTHER.public_key()}
    assert check(ledger(PRIVATE, OTHER), both) == []


def test_a_ledger_that_was_cut_lacks_the_hash_that_was_noted():
    head = SOUND[2]["hash"]

    assert check(SOUND[:2], KEYS) == []
    (fault,) = check(SOUND[:2], KEYS, head=head)
    assert "the ledger was cut, or is another one" in fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file is empty"),
        ("{", "neither one JSON value .* nor one a line .line 1"),
        (json.dumps(SOUND[0]) + '\n{"a": 1', "line 2: "),
        ('{"a": 1}', "file is no receipt"),
        ("[[]]", "file is no receipt"),
        ("1", "file is no receipt"),
        ("NaN", "NaN is no number of JSON"),
        ('{"id": 1, "id": 2}', "the same name twice"),
        ("[" * 100_000, "neither one JSON value"),
        (json.dumps(SOUND[0] | {"more": 1}), "is no receipt"),
        (json.dumps(SOUND[0] | {"number": True}), "is no receipt"),
        (json.dumps(SOUND[0] | {"hash": None}), "is no receipt"),
        (json.dumps(SOUND[0] | {"key_id": "a"}), "is no receipt"),
        (json.dumps({"data": SOUND}), "a page must have data, has_more and next"),
        (json.dumps(page(SOUND) | {"next": "x"}), "next is not its last receipt"),
        (json.dumps(page(SOUND, more=True)), "save the pages after it as well"),
    ],
)
def test_a_text_without_receipts_is_refused(text, message):
    with pytest.raises(BadLedger, match=message):
        read([("file", text)])


def test_half_a_character_is_a_fault_instead_of_a_crash():
    text = json.dumps(SOUND[0]).replace("cmp_1", "\\ud800")

    assert check(read([("file", text)]), {}) == [
        "receipt 1 (rcpt_1) is not what its hash was taken of"
    ]


def saved(folder: Path, text: str | bytes, name: str = "receipts.json") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture
def public(tmp_path: Path) -> str:
    pem = PRIVATE.public_key().public_bytes(
        signing.serialization.Encoding.PEM, signing.serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return saved(tmp_path, pem, "public.pem")


def test_the_command_needs_files_only_and_says_what_it_has_checked(tmp_path, public):
    """The command runs alone, in a folder without a service, and loads no module of the engine."""
    file = saved(tmp_path, lines(SOUND))
    code = (
        "import sys; from app.cli import main; status = main(sys.argv[1:]); "
        "assert not {'torch', 'fastapi', 'sqlalchemy.orm'} & set(sys.modules); sys.exit(status)"
    )
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code, "verify-receipts", file, "--public-key", public],
        cwd=tmp_path,
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
    )

    last = SOUND[-1]["hash"]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"3 receipts are valid, 2 signed; the last hash is {last}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"receipts.json", "public.pem"}


def test_the_command_ends_with_1_and_a_sentence_for_every_fault(tmp_path, public, capsys):
    changed = lines(SOUND).replace("cmp_1", "cmp_2", 1)

    assert main(["verify-receipts", saved(tmp_path, changed), "--public-key", public]) == 1
    assert capsys.readouterr().out == "receipt 1 (rcpt_1) is not what its hash was taken of\n"
    assert main(["verify-receipts", saved(tmp_path, lines(SOUND)), "--head", "f" * 64]) == 1
    assert "no receipt has the hash" in capsys.readouterr().out
    assert main(["verify-receipts", saved(tmp_path, "{}")]) == 1
    assert "the ledger cannot be read" in capsys.readouterr().out
    assert main(["verify-receipts", saved(tmp_path, lines(SOUND))]) == 0
    assert "2 signed, no signature checked" in capsys.readouterr().out


def test_the_command_ends_with_2_on_files_it_cannot_use(tmp_path, public, capsys):
    good = saved(tmp_path, lines(SOUND))
    cases = [
        ([str(tmp_path / "none")], "cannot be read: No such file"),
        ([saved(tmp_path, b"\xff", "binary")], "is not a text file in UTF-8"),
        ([good, "--public-key", str(tmp_path / "none")], "cannot be read: No such file"),
        ([good, "--public-key", good], "no public key in PEM"),
    ]
    for arguments, message in cases:
        assert main(["verify-receipts", *arguments]) == 2
        assert message in capsys.readouterr().err
