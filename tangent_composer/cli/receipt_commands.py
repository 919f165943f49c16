"""`tangent receipts`: the ledger, one receipt, and both verified."""

from typing import TYPE_CHECKING, Annotated

import typer

from tangent_composer.cli import options
from tangent_composer.cli.connection import connected
from tangent_composer.cli.dataset_commands import PANEL
from tangent_composer.cli.output import show_facts, show_json, show_listing, show_table
from tangent_composer.terminal import say

if TYPE_CHECKING:
    from tangent_composer.client.ledgers import Verified
    from tangent_composer.schemas.receipts import ReceiptOut


def register(program: typer.Typer) -> None:
    """Add the command."""
    program.command(rich_help_panel=PANEL)(receipts)


def receipts(
    receipt_id: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check hashes, chain, signatures and tree on this machine; of one receipt, also "
            "have the service look for what is left. Exit status 1 if something is wrong.",
        ),
    ] = False,
    head: Annotated[
        str | None, typer.Option(help="Hash noted earlier, which a receipt must have.")
    ] = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """List the receipts of deletions, show one, or verify them."""
    with connected(url) as client:
        if verify or head is not None:
            checked = client.receipts.verify_offline(receipt_id, head=head)
            looked = None if receipt_id is None else client.receipts.verify(receipt_id)
            remote = [] if looked is None or looked.ok else ["the service finds something left"]
            _show_outcome(checked, remote, as_json=as_json)
            raise typer.Exit(0 if checked.ok and not remote else 1)
        if receipt_id is not None:
            found = client.receipts.get(receipt_id)
            show_json(found) if as_json else _show(found)
            return
        listed = list(client.receipts.each())
    if as_json:
        show_listing(listed)
        return
    rows = [[each.number, each.id, each.created_at, _subject(each)] for each in listed]
    show_table(("number", "id", "time", "of"), rows)


def _show_outcome(checked: "Verified", remote: list[str], *, as_json: bool) -> None:
    faults = [*checked.faults, *remote]
    if as_json:
        count, signed = len(checked.receipts), checked.signed
        show_json({"ok": not faults, "receipts": count, "signed": signed, "faults": faults})
        return
    for fault in faults:
        say(fault)
    if not faults:
        say(f"{len(checked.receipts)} receipts are valid, {checked.signed} signed")


def _subject(receipt: "ReceiptOut") -> str:
    body = receipt.body if isinstance(receipt.body, dict) else receipt.body.model_dump()
    subject = body.get("subject") or {}
    return f"{subject.get('kind', '')} {subject.get('id', '')}".strip()


def _show(receipt: "ReceiptOut") -> None:
    show_facts(
        [
            ("id", receipt.id),
            ("number", receipt.number),
            ("time", receipt.created_at),
            ("of", _subject(receipt)),
            ("hash", receipt.hash),
            ("previous hash", receipt.previous_hash),
            ("signed by", receipt.key_id),
        ]
    )
