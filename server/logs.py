"""Log lines, as text for people or JSON for machines. Everything logs below the root name `headrace`."""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00 INFO replica 1 model_repo: digits/1 is ready key=value`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it if there is one."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        name = record.name.removeprefix("headrace.")
        extra = "".join(f" {key}={_word(value)}" for key, value in _extra(record).items())
        line = f"{stamp} {record.levelname} {self._process} {name}: {record.getMessage()}{extra}"
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, process, logger, message, whatever was given as `extra`, exception."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        document = {
            "time": record.created,
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info is not None:
            document["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(document, default=str).decode()


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _word(value: object) -> str:
    """As one word: what clients send must not make lines or keys of its own."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(" =\"'") else repr(text)


ROUTINE = ("headrace.executor", "headrace.model_repo")
"""Loggers of what every replica does alike: loading and unloading."""


def set_up(form: Literal["text", "json"], level: str, process: str, *, echo: bool = False) -> None:
    """Send everything below `headrace` to stderr, and the warnings of libraries too. Once per process.

    `echo`: another process does and says the same. What is routine is then not said again, unless at level debug.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process) if form == "json" else TextFormatter(process))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("headrace").setLevel(level.upper())
    for name in ROUTINE:
        logging.getLogger(name).setLevel(logging.WARNING if echo and level == "info" else logging.NOTSET)
    logging.captureWarnings(True)
