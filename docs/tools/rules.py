"""The part of docs/rules.md that lists the words, made from the grammar.

`python -m docs.tools.rules docs/rules.md` writes it anew between its two marks.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from surgeon.rulebook import grammar
from surgeon.rulebook.arguments import Operand

BEGIN, END = "<!-- made by python -m docs.tools.rules docs/rules.md -->", "<!-- end of what is made -->"

# Title of a table, and the model that reads what it lists.
LEVELS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("In a rule", grammar.Rule),
    ("In `find`: what to look for; every word given must hold", grammar.Find),
    ("In `from`, for each of the two operands", Operand),
)
# What JSON Schema calls a type, and what the page calls it.
KINDS = {"string": "text", "array": "a list", "object": "a mapping", "integer": "a number"}


def words() -> str:
    """The tables of words, as Markdown."""
    lines = [BEGIN]
    schema = grammar.schema()
    for title, model in LEVELS:
        level = schema if model is grammar.Rule else schema["$defs"][model.__name__]
        lines += ["", f"### {title}", "", "| word | may be | meaning |", "|---|---|---|"]
        lines += [f"| `{word}` | {_values(level, word)} | {about} |" for word, about in grammar.words(model).items()]
    return "\n".join([*lines, "", END])


def page(text: str) -> str:
    """`text` with what stands between the marks made anew."""
    before, _, rest = text.partition(BEGIN)
    return before + words() + rest.partition(END)[2]


def _values(level: Mapping[str, Any], word: str) -> str:
    """What a word may be, read from the JSON Schema, so that the page can't promise more."""
    value = level["properties"][word]
    options = [option for option in value.get("anyOf", [value]) if option.get("type") != "null"]
    kinds = " or ".join(_kind(option) for option in options)
    return f"{kinds}; must be given" if word in level.get("required", ()) else kinds


def _kind(option: Mapping[str, Any]) -> str:
    choices = option.get("enum") or ([option["const"]] if "const" in option else None)
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    return "words" if "$ref" in option else KINDS[option["type"]]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(page(target.read_text(encoding="utf-8")), encoding="utf-8")
