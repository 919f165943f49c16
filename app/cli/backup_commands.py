"""The commands `backup`, `restore`, `move` and `export-receipts`, with their flags."""

import argparse
import json
from pathlib import Path
from typing import Any

from app.settings import BadSettings, Settings
from tangent_composer.terminal import say


def add_parsers(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the commands' flags; return those parsers that take a data folder."""
    backup = commands.add_parser("backup", help="write rows and files to one file, while serving")
    backup.add_argument("file", type=Path, help="new tar file")
    restore = commands.add_parser("restore", help="make a new store of a backup")
    restore.add_argument("file", type=Path, help="tar file that `tangent backup` has written")
    restore.add_argument("--database-url", help="empty Postgres database; else SQLite")
    later = restore.add_mutually_exclusive_group()
    later.add_argument(
        "--receipts",
        nargs="+",
        type=Path,
        help="all receipts up to now, as saved by `tangent export-receipts` or from the API: what "
        "was deleted after the backup is deleted again",
    )
    later.add_argument(
        "--ledger", help="the same from a store that still exists: its data folder or Postgres URL"
    )
    restore.add_argument(
        "--public-key",
        action="append",
        type=Path,
        default=[],
        help="PEM file of a key that signed receipts after the backup; repeat for more",
    )
    move = commands.add_parser("move", help="move all rows to another database")
    move.add_argument("--to", required=True, help="URL of an empty Postgres database, or sqlite")
    export = commands.add_parser("export-receipts", help="save all receipts, one a line")
    export.add_argument("file", type=Path, help="new file")
    return [backup, restore, move, export]


def backup(settings: Settings, flags: argparse.Namespace) -> int:
    """Write a backup; return 1 if the store lacks files or has damaged rows, and so the backup."""
    from app.backups.backup import back_up, described
    from app.backups.rows import Differing

    try:
        manifest = back_up(settings, flags.file)
    except Differing as error:
        raise BadSettings(
            f"{flags.file} was not written: {error}: look at `tangent doctor`, and try again"
        ) from None
    except OSError as error:
        raise BadSettings(f"{flags.file} was not written: {error}") from None
    for line in described(manifest, flags.file):
        say(line)
    return 1 if manifest.missing or manifest.damaged_rows else 0


def restore(settings: Settings, flags: argparse.Namespace) -> int:
    """Restore a backup; return 1 if something that followed it could not be done again."""
    from app.backups.manifest import BadBackup
    from app.backups.restore import described, restore
    from app.receipts.signing import signer_of

    if not flags.file.is_file():
        raise BadSettings(f"there is no file {flags.file}: name one that `tangent backup` wrote")
    later = _later(settings, flags)
    try:
        restored = restore(settings, flags.file, later, signer_of(settings))
    except BadBackup as error:
        raise BadSettings(f"{flags.file} was not restored: {error}") from None
    for line in described(restored, later is not None):
        say(line)
    for line in restored.open_ends:
        say(line, on_error=True)
    return 1 if restored.open_ends else 0


def _later(settings: Settings, flags: argparse.Namespace) -> Any:
    from app.backups import later_deletions, store_access
    from app.database import migrate

    if flags.receipts:
        keys = dict(_public_key(path) for path in flags.public_key)
        return later_deletions.read(flags.receipts, keys)
    if flags.ledger is None:
        return None
    if "://" in flags.ledger:
        there = store_access.at_url(settings, flags.ledger, "--ledger")
    else:
        there = store_access.rows_only(settings, Path(flags.ledger))
        if not (Path(flags.ledger) / "tangent.db").is_file():
            raise BadSettings(f"--ledger is {flags.ledger!r}: no data folder with a tangent.db")
    migrate.check_tables(there, "name another store in --ledger")
    return later_deletions.of_database(there)


def _public_key(path: Path) -> tuple[str, str]:
    from tangent_composer.receipts.signatures import BadKey, key_id_of, public_key

    try:
        text = path.read_text(encoding="utf-8")
        return key_id_of(public_key(text)), text
    except (OSError, UnicodeDecodeError, BadKey) as error:
        raise BadSettings(f"--public-key is {str(path)!r}: {error}") from None


def move(settings: Settings, flags: argparse.Namespace) -> int:
    """Move the store to another database."""
    from app.backups.move import described, move

    for line in described(move(settings, flags.to)):
        say(line)
    return 0


def export_receipts(settings: Settings, flags: argparse.Namespace) -> int:
    """Write every receipt of the ledger as the API shows it, one a line."""
    from app.backups.later_deletions import of_database
    from app.database import migrate

    migrate.check_tables(settings)
    ledger = of_database(settings)
    _write_new(flags.file, [f"{json.dumps(receipt)}\n" for receipt in ledger.receipts])
    say(f"{len(ledger.receipts)} receipts are in {flags.file}")
    return 0


def _write_new(path: Path, lines: list[str]) -> None:
    """Write a file that was not there; on an error it is not there again."""
    is_made = False
    try:
        with path.open("x", encoding="utf-8") as file:
            is_made = True
            file.writelines(lines)
    except FileExistsError:
        raise BadSettings(f"{path} is there already: choose another name") from None
    except OSError as error:
        if is_made:
            path.unlink(missing_ok=True)
        raise BadSettings(f"{path} was not written: {error.strerror}") from None


COMMANDS = {
    "backup": backup,
    "restore": restore,
    "move": move,
    "export-receipts": export_receipts,
}
