"""The text of a rule file as plain data, with the line of everything in it.

Read from the parser's events and never composed by a YAML library: anchors (which explode), tags
(which construct objects), repeated words and deep nesting are refused where they stand, before
anything is built from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from surgeon.errors import BadRule

# A rule is a page of text; a larger file is something else.
MOST_BYTES = 50_000
# A rule needs four levels.
MOST_LEVELS = 8

# Where in a file something is: the words and numbers that lead to it.
WordPath = tuple[str | int, ...]


def refusal(file: str | Path, line: int, message: str, hint: str = "") -> BadRule:
    """The BadRule for one line of a file.

    >>> refusal("a.yaml", 3, "unknown word 'ad'", "Did you mean 'add'?")
    BadRule("unknown word 'ad' (a.yaml, line 3). Did you mean 'add'?")
    """
    return BadRule(f"{message} ({file}, line {line}). {hint}".rstrip())


def read(path: str | Path) -> str:
    """The text of a rule file.

    Raises:
        BadRule: no file, too long, or not UTF-8.
    """
    try:
        # Opening a pipe or a device would wait for ever.
        if not Path(path).is_file():
            raise BadRule(f"{path}: no such rule file.")
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadRule(f"{path}: can't be read: {error}.") from None
    if len(data) > MOST_BYTES:
        raise refusal(path, data[:MOST_BYTES].count(b"\n") + 1, f"too long for a rule: more than {MOST_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise refusal(path, line, f"not UTF-8: byte {data[error.start]:#04x}") from None


def parse(text: str, file: str) -> tuple[Any, dict[WordPath, int]]:
    """What `text` says, and where.

    Returns:
        (data, lines): dicts, tuples, str, int, float, bool and None; and {path of words: line}.

    Raises:
        BadRule: with file and line, for all that is not one document of plain YAML.
    """
    reader = _Reader(file)
    try:
        return reader.document(YAML(typ="safe", pure=True).parse(text)), reader.lines
    except BadRule:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join((error.problem or error.context or "it can't be read").split())
        raise refusal(file, mark.line + 1 if mark else reader.line, f"not YAML: {problem}") from None
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise refusal(file, line, f"not YAML: character {error.character:#04x} is not allowed") from None
    except Exception as error:  # the parser may fail in any way on a file that is no YAML
        raise refusal(file, reader.line, f"not YAML: {type(error).__name__}") from None


class _Reader:
    """Builds plain data from parser events. `line` is that of the latest event."""

    def __init__(self, file: str) -> None:
        self.file, self.line = file, 1
        self.lines: dict[WordPath, int] = {}

    def document(self, events: Iterable[Event]) -> Any:
        content = (ScalarEvent, AliasEvent, MappingStartEvent, SequenceStartEvent, StreamEndEvent)
        self.events = iter(events)
        first = self.skip_to(content)
        if isinstance(first, StreamEndEvent):
            raise refusal(self.file, 1, "empty: a rule is a mapping with the words id, about and find")
        data = self.build(first, ())
        if not isinstance(self.skip_to(content), StreamEndEvent):
            raise refusal(self.file, self.line, "a second document: one file is one rule")
        return data

    def skip_to(self, kinds: tuple[type[Event], ...]) -> Event:
        return next(event for event in self.events if isinstance(event, kinds))

    def next(self) -> Event:
        event = next(self.events)
        self.line = event.start_mark.line + 1
        return event

    def build(self, event: Event, path: WordPath) -> Any:
        self.line = self.lines[path] = event.start_mark.line + 1
        if not isinstance(event, (ScalarEvent, CollectionStartEvent)) or event.anchor:
            raise refusal(self.file, self.line, "anchors and aliases (& and *) have no place in a rule")
        if event.ctag is not None:
            why = f"tags ({event.tag}) have no place in a rule: it is data and constructs nothing"
            raise refusal(self.file, self.line, why)
        if len(path) > MOST_LEVELS:
            raise refusal(self.file, self.line, f"nested more than {MOST_LEVELS} levels deep")
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        return self.mapping(path) if isinstance(event, MappingStartEvent) else self.sequence(path)

    def sequence(self, path: WordPath) -> tuple[Any, ...]:
        items: list[Any] = []
        while not isinstance(event := self.next(), SequenceEndEvent):
            items.append(self.build(event, (*path, len(items))))
        return tuple(items)

    def mapping(self, path: WordPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self.next(), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise refusal(self.file, self.line, "the left of a colon must be a word")
            word, line = event.value, self.line
            self.build(event, (*path, word))
            if word in found:
                raise refusal(self.file, line, f"{word!r} is said twice")
            found[word] = self.build(self.next(), (*path, word))
            # A word's line is its own; the value may begin on the next.
            self.lines[path + (word,)] = line
        return found


def _scalar(event: ScalarEvent) -> str | int | float | bool | None:
    """A scalar's value as YAML 1.2 reads it; in quotes it is text."""
    text: str = event.value
    if event.style is not None:
        return text
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[-+]?[0-9]{1,15}", text):
        return int(text)
    return float(text) if re.fullmatch(r"[-+]?[0-9]{1,15}\.[0-9]{0,15}", text) else text
