"""The commands `verify-receipts` and `verify-component`: what was saved, checked offline.

tangent verify-receipts PAGES --public-key KEY                                a whole ledger
tangent verify-receipts RECEIPT --inclusion PROOF --checkpoint NOTE …         one receipt
tangent verify-receipts SAVED --fingerprint HASH                                as the page saves it
tangent verify-receipts --old-checkpoint NOTE --consistency PROOF --checkpoint NOTE …
"""

import argparse
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tangent_composer.cli.refusal import Parser, Refusal
from tangent_composer.terminal import say

FILES = (
    ("--checkpoint", "signed note from GET /v1/receipts/checkpoint"),
    ("--old-checkpoint", "one noted earlier, which --checkpoint must continue"),
    ("--consistency", "proof from GET /v1/receipts/consistency, from the old one to the new one"),
)


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command with its arguments."""
    parser = commands.add_parser(
        "verify-receipts", help="check saved receipts; needs no service and no database"
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        help="pages of GET /v1/receipts, files with one receipt per line, or receipts that the "
        "page has saved",
    )
    parser.add_argument(
        "--public-key",
        action="append",
        type=Path,
        default=[],
        help="PEM file from GET /v1/receipts/key; repeat for every key that has signed",
    )
    parser.add_argument(
        "--fingerprint",
        action="append",
        default=[],
        help="SHA-256 of a key, noted elsewhere, to trust in what the page has saved; repeat for "
        "more",
    )
    parser.add_argument("--head", help="hash from GET /v1/receipts/head, noted earlier")
    for name, text in FILES:
        parser.add_argument(name, type=Path, help=text)
    parser.add_argument(
        "--inclusion",
        action="append",
        type=Path,
        default=[],
        help="proof from GET /v1/receipts/{id}/inclusion: the receipt alone is checked, without "
        "those before it; repeat for every receipt given",
    )


def add_component_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command that checks the signature of a component's file."""
    parser = commands.add_parser(
        "verify-component", help="check the signature of a downloaded component's file"
    )
    parser.add_argument("file", type=Path, help="from GET /v1/components/{id}/delta")
    parser.add_argument(
        "--signature", type=Path, required=True, help="from GET /v1/components/{id}/signature"
    )
    parser.add_argument(
        "--public-key",
        action="append",
        type=Path,
        required=True,
        help="PEM file from GET /v1/receipts/key; repeat for more",
    )


def run_component(flags: argparse.Namespace) -> int:
    """Print whether the file is the one that was signed; return 1 if it is not.

    Raises:
        Refusal: for files that cannot be read.
    """
    from tangent_composer.receipts.envelope import BadEnvelope, read

    keys = dict(_public_key(path) for path in flags.public_key)
    try:
        name, signed = read(_text(flags.signature), keys)
    except BadEnvelope as error:
        say(f"{flags.signature} cannot be trusted: {error}")
        return 1
    try:
        with flags.file.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Refusal(f"{flags.file} cannot be read: {error.strerror}") from None
    if found != signed:
        say(f"{flags.file} has sha256 {found}, signed is {signed} as {name}")
        return 1
    say(f"{flags.file} is {name} as it was signed, sha256 {signed}")
    return 0


def run(flags: argparse.Namespace) -> int:
    """Print what holds and return 0, or print a sentence per fault and return 1.

    Raises:
        Refusal: for flags that do not go together, and files that cannot be read.
    """
    from tangent_composer.receipts.checkpoint import BadCheckpoint
    from tangent_composer.receipts.offline import BadLedger

    _check_flags(flags)
    keys = dict(_public_key(path) for path in flags.public_key)
    try:
        faults, held = _checked(flags, keys)
    except BadLedger as error:
        faults = [f"the ledger cannot be read: {error}"]
    except BadCheckpoint as error:
        faults = [str(error)]
    for line in faults or held:
        say(line)
    return 1 if faults else 0


def _check_flags(flags: argparse.Namespace) -> None:
    if flags.checkpoint is None:
        if not flags.files:
            raise Refusal("give files with receipts, or --checkpoint and a proof")
        if flags.inclusion or flags.consistency or flags.old_checkpoint:
            raise Refusal("a proof needs --checkpoint, the signed note that it is for")
    elif not flags.public_key:
        raise Refusal("--checkpoint needs --public-key: without a key it proves nothing")
    if (flags.consistency is None) != (flags.old_checkpoint is None):
        raise Refusal("--consistency and --old-checkpoint go together")
    if flags.fingerprint and (flags.checkpoint or flags.head):
        raise Refusal(
            "--fingerprint is for what the page has saved, without --checkpoint or --head"
        )
    if flags.inclusion and (flags.head or not flags.files):
        raise Refusal("--inclusion needs files with receipts, and goes without --head")


def _checked(flags: argparse.Namespace, keys: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the faults, and a line about each thing that holds if there are none."""
    from tangent_composer.receipts import offline, offline_proofs

    faults: list[str] = []
    held: list[str] = []
    saved, texts = _partition(flags.files)
    if saved:
        if texts or flags.checkpoint or flags.head:
            raise Refusal("give receipts that the page has saved alone, with --fingerprint")
        return _saved_checked(saved, flags.fingerprint, keys)
    if flags.fingerprint:
        raise Refusal("--fingerprint needs a receipt that the page has saved")
    note = _checkpoint(flags.checkpoint, keys) if flags.checkpoint else None
    if note:
        held.append(f"the checkpoint over {note.size} receipts of {note.origin} is signed")
    if note and flags.old_checkpoint:
        old = _checkpoint(flags.old_checkpoint, keys)
        path = flags.consistency
        growth = offline_proofs.read_consistency(str(path), _text(path))
        faults += offline_proofs.check_consistency(old, growth, note)
        held.append(f"it continues the one over {old.size} receipts")
    receipts = offline.read(texts)
    if note and flags.inclusion:
        faults += _included(receipts, flags.inclusion, note, keys)
        held.append("it holds " + ", ".join(receipt["id"] for receipt in receipts))
    elif flags.files:
        faults += offline.check(receipts, keys, head=flags.head)
        faults += offline_proofs.check_tree(receipts, note) if note else []
        held.append(_ledger_line(receipts, keys))
    return faults, held


def _partition(paths: Iterable[Path]) -> tuple[list[Any], list[tuple[str, str]]]:
    """Return what the page has saved, and names and texts of all other files."""
    from tangent_composer.receipts.saved import read

    saved, texts = [], []
    for path in paths:
        text = _text(path)
        found = read(str(path), text)
        if found is None:
            texts.append((str(path), text))
        else:
            saved.append(found)
    return saved, texts


def _saved_checked(
    saved: Iterable[Any], fingerprints: list[str], keys: dict[str, Any]
) -> tuple[list[str], list[str]]:
    from tangent_composer.receipts.saved import check, keys_of

    faults, held = [], []
    for each in saved:
        trusted = keys | keys_of(each, fingerprints)
        if not trusted:
            raise Refusal(
                f"no key in {each.name} is one that you trust: give --fingerprint, the SHA-256 of "
                "the key that you noted elsewhere, or --public-key"
            )
        faults += check(each, trusted)
        number, size = each.receipt["number"], each.inclusion.tree_size
        held.append(
            f"receipt {number} ({each.receipt['id']}) is as it was written, and the signed ledger "
            f"of {size} receipts holds it"
        )
    return faults, held


def _included(receipts: list[Any], paths: Iterable[Path], note: Any, keys: Any) -> list[str]:
    """Return the faults of receipts that each have a proof of their own."""
    from tangent_composer.receipts.offline_proofs import check_inclusion, read_inclusion

    proofs = [read_inclusion(str(path), _text(path)) for path in paths]
    by_id = {proof.receipt_id: proof for proof in proofs}
    ids = [receipt["id"] for receipt in receipts]
    if sorted(ids) != sorted(proof.receipt_id for proof in proofs):
        return ["receipts and proofs are not of the same ids: give one proof for each receipt"]
    pairs = ((receipt, by_id[receipt["id"]]) for receipt in receipts)
    return [fault for pair in pairs for fault in check_inclusion(*pair, note, keys)]


def _ledger_line(receipts: list[Any], keys: Any) -> str:
    signed = sum("key_id" in receipt for receipt in receipts)
    last = receipts[-1]["hash"] if receipts else "none"
    checked = f"{signed} signed" if keys else f"{signed} signed, no signature checked"
    return f"{len(receipts)} receipts are valid, {checked}; the last hash is {last}"


def _checkpoint(path: Path, keys: dict[str, Any]) -> Any:
    from tangent_composer.receipts.checkpoint import BadCheckpoint, read

    try:
        return read(_text(path), keys.values())
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path} is no checkpoint to trust: {error}") from None


def _public_key(path: Path) -> tuple[str, Any]:
    from tangent_composer.receipts.signatures import BadKey, key_id_of, public_key

    try:
        key = public_key(_text(path))
    except BadKey as error:
        raise Refusal(f"--public-key is {str(path)!r}: {error}") from None
    return key_id_of(key), key


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Refusal(f"{path} is not a text file in UTF-8") from None
