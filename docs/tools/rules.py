"""The part of docs/rules.md that lists the words, made from the grammar.

`python -m docs.tools.rules docs/rules.md` writes it anew between its two marks.
"""

import sys
from pathlib import Path

from surgeon.rulebook import grammar
from surgeon.rulebook.arguments import Operand

BEGIN, END = "<!-- made by python -m docs.tools.rules docs/rules.md -->", "<!-- end of what is made -->"

LEVELS = (
    ("In a rule", grammar.Rule),
    ("In `find`: what to look for; every word given must hold", grammar.Find),
    ("In `from`, for each of the two operands", Operand),
)


def words():
    """The tables of words, as Markdown."""
    parts = [BEGIN]
    schema = grammar.schema()
    for title, model in LEVELS:
        level = schema if model is grammar.Rule else schema["$defs"][model.__name__]
        parts += ["", f"### {title}", "", "| word | may be | meaning |", "|---|---|---|"]
        parts += [f"| `{word}` | {_values(level, word)} | {told} |" for word, told in grammar.words(model).items()]
    return "\n".join([*parts, "", END])


def page(text):
    """`text` with what stands between the marks made anew."""
    before, _, rest = text.partition(BEGIN)
    return before + words() + rest.partition(END)[2]


def _values(level, word):
    """What a word may be, read from the JSON Schema, so that the page can't promise more."""
    known, required = level["properties"][word], word in level.get("required", ())
    options = [option for option in known.get("anyOf", [known]) if option.get("type") != "null"]
    told = " or ".join(_kind(option) for option in options)
    return f"{told}; must be given" if required else told


def _kind(option):
    choices = option.get("enum") or ([option["const"]] if "const" in option else None)
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if "$ref" in option:
        return "words"
    return {"string": "text", "array": "a list", "object": "a mapping", "integer": "a number"}[option["type"]]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(page(target.read_text(encoding="utf-8")), encoding="utf-8")
