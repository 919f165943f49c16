"""The command `tangent audit`: the audit log, from the database itself."""

import argparse

from app.database import audit
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import stamp
from app.settings import Settings
from tangent_composer.schemas.audit import AuditOut
from tangent_composer.terminal import as_json, clean

MAX_READ = 1000  # entries in memory at a time


def run(settings: Settings, flags: argparse.Namespace) -> int:
    """Print the log; return 0."""
    engine, after = open_engine(settings), None
    reading = session_factory(engine, read_only=True)
    try:
        while True:
            with transaction(reading) as session:
                rows = audit.list_(session, after=after, limit=MAX_READ, key_id=flags.key)
            for row in rows:
                print(_json(row) if flags.json else _line(row))
            if len(rows) < MAX_READ:
                return 0
            after = rows[-1].id
    finally:
        engine.dispose()


def _json(row: audit.AuditEntry) -> str:
    return as_json(AuditOut.of(row).model_dump(mode="json"))


def _line(row: audit.AuditEntry) -> str:
    request = row.request_id or "-"
    cells = [stamp(row.created_at), row.key_id, row.action, ",".join(row.objects) or "-", request]
    return "\t".join(map(clean, cells))
