"""Examples in docstrings as blocks of code, which Markdown would take for quotations: an extension of griffe's."""

from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Puts fences around what stands behind `>>>`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """A docstring with its examples fenced, each up to the next empty line.

    >>> fenced("One.\\n\\n>>> 1 + 1\\n2")
    'One.\\n\\n```pycon\\n>>> 1 + 1\\n2\\n```'
    """
    lines: list[str] = []
    is_open = False
    for line in [*text.splitlines(), ""]:
        if not is_open and line.startswith(">>>"):
            lines.append("```pycon")
            is_open = True
        elif is_open and not line.strip():
            lines.append("```")
            is_open = False
        lines.append(line)
    return "\n".join(lines[:-1])
