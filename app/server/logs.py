"""The lines of the log: of all processes in one format, on standard error.

    2026-11-28T16:42:04.123Z WARNING engine app.inference.remote.server: the engine failed
    {"time": "2026-11-28T16:42:04.123Z", "level": "warning", "process": "engine", …}

A line that belongs to a request has its id.
"""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace

from app.settings import Settings

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
OURS = ("app", "training_worker", "tangent")  # loggers that the level is for; others: WARNING
OTHERS_WITH_HANDLERS = ("dbos", "alembic", "uvicorn", "uvicorn.error", "uvicorn.access")
FIELDS = "fields"  # of a record: what `logging` was given as extra, for JSON

access_log = logging.getLogger("access")


def set_up_logs(settings: Settings, process: str) -> None:
    """Write the lines of this process, which has the name `process` in them."""
    handler = logging.StreamHandler()
    handler.setFormatter((JsonLines if settings.log_format == "json" else TextLines)(process))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log_level.upper())
    access_log.setLevel(logging.INFO if settings.access_log else logging.WARNING)
    take_over_logs()


def take_over_logs() -> None:
    """Let libraries that print lines in a format of their own write them as this service does."""
    for name in OTHERS_WITH_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True


def _time(record: logging.LogRecord) -> str:
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextLines(logging.Formatter):
    """Lines for people; a message has one line, whatever is in it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and its traceback below."""
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        ident = REQUEST_ID.get()
        line = f"{_time(record)} {record.levelname} {self._process} {record.name}: {message}"
        line += "" if ident is None else f" [{ident}]"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """Lines for machines: a JSON object each, with its traceback inside."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's object in one line."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {"request_id": ident} if (ident := REQUEST_ID.get()) else {}
        span = trace.get_current_span().get_span_context()
        line |= {"trace_id": format(span.trace_id, "032x")} if span.is_valid else {}
        line |= getattr(record, FIELDS, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
