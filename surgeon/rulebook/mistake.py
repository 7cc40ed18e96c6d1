"""What is wrong with a rule, in one line: the word, the file and line, and the nearest that is known."""

from surgeon.errors import suggest
from surgeon.rulebook.arguments import CLASS, NAME, SOURCE, Operand
from surgeon.rulebook.grammar import Find, Rule, words
from surgeon.rulebook.text import refusal

_ASKED = dict((NAME, CLASS, SOURCE))
# A mistyped word is both unknown and missing; the first is what the author needs to hear.
_URGENT = ("extra_forbidden", "missing")


def complaint(errors, lines, file):
    """The BadRule for the most telling of pydantic's `errors` about one file.

    Args:
        lines: {path of words: line}, as `ruletext.parse` gives them.
    """
    rank = lambda error: _URGENT.index(error["type"]) if error["type"] in _URGENT else len(_URGENT)
    error = min(errors, key=rank)
    where, line = _place(error, lines)
    return refusal(file, line, *_told(error, where))


def _place(error, lines):
    """The path of words that the error is about, and the line of the last of them that the file has.

    Steps that the file does not have are pydantic's own: `constrained-int`, `[key]`.
    """
    where = ()
    for step in error["loc"]:
        where = (*where, step) if (*where, step) in lines else where
    line = lines[where]
    if error["type"] == "missing":
        where = (*where, error["loc"][-1])
    if error["type"] == "meaning":
        where = (*where, error["ctx"]["word"])
        line = lines.get(where, line)
    return where, line


def _told(error, where):
    """What is wrong, and a hint."""
    name = _short(where[-1]) if where else "the rule"
    there = f" in {'.'.join(map(str, where[:-1]))}" if len(where) > 1 else ""
    kind, given = error["type"], _short(error["input"])
    if kind == "meaning":
        return (error["msg"],)
    if kind == "extra_forbidden":
        return f"unknown word {name}{there}", suggest(where[-1], words(_level(where)))
    if kind == "missing":
        return (f"missing word {name}{there}",)
    if kind == "literal_error":
        choices = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return f"{name}{there} can't be {given}", suggest(error["input"], choices)
    if kind == "string_pattern_mismatch":
        return (f"{given}{there} is not {_ASKED[error['ctx']['pattern']]}",)
    if where[:1] == ("expect",) and len(where) > 1 and not kind.startswith("string"):
        return (f"{name}{there} can't be {given}: give the number of sites, or a list of module paths",)
    should = error["msg"].replace("Input should", "it should").replace("String should", "it should").replace(" or instance of Find", "")
    return (f"{name}{there} can't be {given}: {should}",)


def _level(where):
    return Rule if len(where) == 1 else Find if len(where) == 2 else Operand


def _short(value, most=60):
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
