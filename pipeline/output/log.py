"""log.jsonl: every event of a run as one line that a machine can read, tracebacks included."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

logger = logging.getLogger("transra")


class JsonLines(logging.Formatter):
    """One JSON object a line; `always` are fields of every line."""

    def __init__(self, always: Mapping[str, object]) -> None:
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._always,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class LogFile(logging.FileHandler):
    """A log that cannot be written says nothing: what filled the disk is reported by the command itself."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Python's own prints a traceback for every line."""

    def close(self) -> None:
        try:
            super().close()
        except OSError:  # lines that are still held back
            self.handleError(logging.makeLogRecord({}))


@contextmanager
def logged(path: Path, **always: object) -> Iterator[None]:
    """Sends our log and torchbiggraph's to a file, and nothing to the terminal; `always` are fields of every line."""
    handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(JsonLines(always))
    sources = [logger, logging.getLogger("torchbiggraph")]
    for source in sources:
        source.setLevel(logging.INFO)
        source.addHandler(handler)
        source.propagate = False
    try:
        yield
    finally:
        for source in sources:
            source.removeHandler(handler)
        handler.close()


def log_event(message: str, **fields: object) -> None:
    """One line of the log with values of its own beside the message."""
    logger.info(message, extra={"fields": fields})
