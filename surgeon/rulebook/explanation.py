"""What a rule looked at in a model, word by word, as data and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from surgeon.sites import Site

if TYPE_CHECKING:
    from surgeon.trace.lines import Line


@dataclass(frozen=True)
class Answer:
    """What one word of a rule said about one value, and the fact that decided it."""

    word: str
    argument: str
    holds: bool
    why: str


@dataclass(frozen=True)
class Case:
    """One value that a rule looked at.

    order: its place in the order of execution. rule: which rule it was.
    path: the module whose forward it is in. step: what is done there. line: where the model's code does it.
    site: where attention goes, if the rule found the value; trouble: why it can't go there.
    """

    order: int
    rule: str
    path: str
    step: str
    line: Line | None
    answers: tuple[Answer, ...]
    site: Site | None = None
    trouble: str = ""

    @property
    def failed(self) -> Answer | None:
        """The word that did not hold; None for a find."""
        return None if self.answers[-1].holds else self.answers[-1]


@dataclass(frozen=True)
class Explanation:
    """All cases of one place in one model, in order of execution; `str` makes the page.

    rules: which rules apply, and what they are about. operators: all operators of this network, for where
    there was nothing to look at.
    """

    place: str
    model: str
    rules: tuple[str, ...]
    operators: tuple[str, ...]
    cases: tuple[Case, ...]

    @property
    def found(self) -> list[Case]:
        return [case for case in self.cases if not case.failed]

    @property
    def near_misses(self) -> list[Case]:
        return [case for case in self.cases if case.failed]

    def __str__(self) -> str:
        numbers = f"{len(self.found)} found, {len(self.near_misses)} looked at and not taken"
        lines = [f"{self.place} in {self.model}: {numbers}", *(f"  rule {rule}" for rule in self.rules)]
        if not self.cases:
            lines += ["", f"Nothing to look at. The operators of this network: {', '.join(self.operators)}."]
        return "\n".join([*lines, *_in_lines("found", self.found), *_in_lines("not taken", self.near_misses)])


def grouped(cases: Iterable[Case]) -> list[list[Case]]:
    """The cases, those together that are alike in several blocks."""
    groups: dict[object, list[Case]] = {}
    for case in cases:
        alike = (case.line, case.trouble, tuple((answer.word, answer.holds) for answer in case.answers))
        groups.setdefault(alike, []).append(case)
    return list(groups.values())


def _in_lines(title: str, cases: Iterable[Case]) -> list[str]:
    """The cases as lines of text; what is alike is shown once, for the first of them."""
    return [line for members in grouped(cases) for line in _group(title, members)]


def _group(title: str, members: Sequence[Case]) -> list[str]:
    first = members[0]
    count = f"{len(members)} x " if len(members) > 1 else ""
    code = f"{first.line}: {first.line.text}" if first.line else first.step
    lines = [code, *map(_line, first.answers), *(f"->   {text}" for text in consequences(members))]
    head = f"{title}: {count}{listed(case.path for case in members)}"
    return ["", head, *(f"    {line}" for line in lines)]


def _line(answer: Answer) -> str:
    return f"{'yes' if answer.holds else 'NO '}  {answer.word}: {answer.argument}  ({answer.why})"


def consequences(members: Sequence[Case]) -> list[str]:
    """Where attention goes, or what keeps it from there."""
    if members[0].trouble:
        return [f"but no attention: {members[0].trouble}"]
    modules: dict[str, list[str]] = {}
    for case in members:
        if case.site:
            modules.setdefault(case.site.after, []).append(case.site.module)
    return [f"attention after {after} of {listed(paths)}" for after, paths in modules.items()]


def listed(paths: Iterable[str], most: int = 4) -> str:
    names = list(dict.fromkeys(path or "(the model)" for path in paths))
    return ", ".join(names[:most]) + (f", ... ({len(names)} modules)" if len(names) > most else "")
