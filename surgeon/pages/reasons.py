"""The page of an explanation: what a rule looked at, at which line of the model's code, and each word's answer."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

from surgeon.pages.render import render
from surgeon.rulebook.explanation import consequences, grouped, listed
from surgeon.version import VERSION

if TYPE_CHECKING:
    from surgeon.rulebook.explanation import Explanation
    from surgeon.trace.lines import Line

# So many lines of code are shown before and after the one that is meant.
AROUND = 2


def reasons(explanation: Explanation, source: str) -> str:
    """The page as HTML, in one file that asks nobody for anything.

    Args:
        source: the network as the command names it.
    """
    parts = (("Found", explanation.found), ("Looked at, and not taken", explanation.near_misses))
    return render(
        __package__,
        "reasons.html",
        told=explanation,
        source=source,
        parts=[(title, grouped(cases)) for title, cases in parts if cases],
        paths=lambda group: listed(case.path for case in group),
        consequences=consequences,
        around=around,
        version=VERSION,
    )


def around(line: Line) -> list[tuple[int, str, bool]]:
    """Lines of code (number, text, whether it is the one) around `line`, as far left as they go together."""
    numbers = range(max(1, line.number - AROUND), line.number + AROUND + 1)
    # Behind the last line of a file there is nothing; an empty line has its end.
    found = {number: text.rstrip() for number in numbers if (text := linecache.getline(line.file, number))}
    left = min((len(text) - len(text.lstrip()) for text in found.values() if text), default=0)
    return [(number, text[left:], number == line.number) for number, text in found.items()]
