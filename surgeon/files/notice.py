"""What surgeon adds where another library reports that weights in a folder found no place: they are attention."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

# The logger that such reports go to. A filter on it changes no class and nothing else that is logged.
LOGGER = "transformers.modeling_utils"
REPORT = re.compile(r"(\w+) LOAD REPORT\S* from: (.+)")
# What a report says of keys besides that they are unexpected.
WORSE = ("MISSING", "MISMATCH", "CONVERSION")

_is_told: ContextVar[bool] = ContextVar("_is_told", default=False)


def listen() -> None:
    """Hear the reports from now on."""
    logging.getLogger(LOGGER).addFilter(hear)


@contextmanager
def told() -> Iterator[None]:
    """Inside, surgeon itself loads such a folder: a report of unexpected keys alone is no news."""
    token = _is_told.set(True)
    try:
        yield
    finally:
        _is_told.reset(token)


def hear(record: logging.LogRecord) -> bool:
    """A filter for `logging`: says of a report on a folder with attention how to load it; False drops the report."""
    text = record.getMessage()
    found = REPORT.search(text)
    if found is None or "UNEXPECTED" not in text or not (Path(found[2]) / "surgeon.json").is_file():
        return True
    if _is_told.get():
        return any(word in text for word in WORSE)
    kind, folder = found[1], found[2]
    note = (
        f"surgeon: this folder holds a network with attention, which {kind} alone has no place for. "
        f"surgeon.load({folder!r}) or surgeon.from_pretrained({kind}, {folder!r}) loads it with its attention."
    )
    record.msg, record.args = f"{text}\n{note}", ()
    return True
