"""Structured logs: one JSON object a line on stderr, fields given with `extra={"fields": {...}}`.

Nothing of a prompt or an answer is ever logged.
"""

import json
import logging
import sys

from surplus.kit.clock import iso


class JsonLines(logging.Formatter):
    """`{"at", "level", "logger", "message", ...fields, "exception"?}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": iso(round(record.created, 3)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        # A field never hides what every line has: searching by level or time must find it.
        line = {**line, **getattr(record, "fields", {}), **line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Send every logger's lines to stderr as JSON; `level` is a name of the logging module in lower case."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel("WARNING")
