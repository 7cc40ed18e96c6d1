"""What is wrong with a rule, in one line: the word, the file and line, and the nearest that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from surgeon.errors import BadRule, suggest
from surgeon.rulebook.arguments import CLASS, NAME, SOURCE, Operand, Strict
from surgeon.rulebook.grammar import Find, Rule, words
from surgeon.rulebook.text import WordPath, refusal

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_MEANINGS = {pattern.regex: pattern.meaning for pattern in (NAME, CLASS, SOURCE)}
# A mistyped word is both unknown and missing; the first is what the author needs to hear.
_URGENT = ("extra_forbidden", "missing")


def complaint(errors: Sequence[ErrorDetails], lines: Mapping[WordPath, int], file: str) -> BadRule:
    """The BadRule for the most telling of pydantic's `errors` about one file.

    Args:
        lines: {path of words: line}, as `ruletext.parse` gives them.
    """
    error = min(errors, key=_rank)
    where, line = _place(error, lines)
    message, hint = _explained(error, where)
    return refusal(file, line, message, hint)


def _rank(error: ErrorDetails) -> int:
    return _URGENT.index(error["type"]) if error["type"] in _URGENT else len(_URGENT)


def _place(error: ErrorDetails, lines: Mapping[WordPath, int]) -> tuple[WordPath, int]:
    """The path of words that the error is about, and the line of the last of them that the file has.

    Steps that the file does not have are pydantic's own: `constrained-int`, `[key]`.
    """
    where: WordPath = ()
    for step in error["loc"]:
        where = (*where, step) if (*where, step) in lines else where
    line = lines[where]
    if error["type"] == "missing":
        where = (*where, error["loc"][-1])
    if error["type"] == "meaning":
        where = (*where, error["ctx"]["word"])
        line = lines.get(where, line)
    return where, line


def _explained(error: ErrorDetails, where: WordPath) -> tuple[str, str]:
    """What is wrong, and a hint that may be empty."""
    name = _short(where[-1]) if where else "the rule"
    there = f" in {'.'.join(map(str, where[:-1]))}" if len(where) > 1 else ""
    kind, value = error["type"], _short(error["input"])
    if kind == "meaning":
        return error["msg"], ""
    if kind == "extra_forbidden":
        return f"unknown word {name}{there}", suggest(where[-1], words(_level(where)))
    if kind == "missing":
        return f"missing word {name}{there}", ""
    if kind == "literal_error":
        choices = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return f"{name}{there} can't be {value}", suggest(error["input"], choices)
    if kind == "string_pattern_mismatch":
        return f"{value}{there} is not {_MEANINGS[error['ctx']['pattern']]}", ""
    if where[:1] == ("expect",) and len(where) > 1 and not kind.startswith("string"):
        return f"{name}{there} can't be {value}: give the number of sites, or a list of module paths", ""
    return f"{name}{there} can't be {value}: {_demand(error['msg'])}", ""


def _demand(message: str) -> str:
    """pydantic's message as the second half of a sentence."""
    for beginning in ("Input should", "String should"):
        message = message.replace(beginning, "it should")
    return message.replace(" or instance of Find", "")


def _level(where: WordPath) -> type[Strict]:
    """The level of the grammar that the last word of a path belongs to."""
    levels: dict[int, type[Strict]] = {1: Rule, 2: Find}
    return levels.get(len(where), Operand)


def _short(value: object, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
