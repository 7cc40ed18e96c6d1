"""What a rule looked at in a model, word by word, as data and as a page."""

from dataclasses import dataclass

from surgeon.sites import Site
from surgeon.trace.lines import Line


@dataclass(frozen=True)
class Answer:
    """What one word of a rule said about one value, and what was seen that decided it."""

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
    def failed(self):
        """The word that did not hold; None for a find."""
        return None if self.answers[-1].holds else self.answers[-1]


@dataclass(frozen=True)
class Explanation:
    """All cases of one place in one model, in order of execution; `str` makes the page.

    rules: who spoke, and what about. operators: what this network does at all, for where nothing was to look at.
    """

    place: str
    model: str
    rules: tuple[str, ...]
    operators: tuple[str, ...]
    cases: tuple[Case, ...]

    @property
    def found(self):
        return [case for case in self.cases if not case.failed]

    @property
    def near_misses(self):
        return [case for case in self.cases if case.failed]

    def __str__(self):
        head = f"{self.place} in {self.model}: {len(self.found)} found, {len(self.near_misses)} looked at and not taken"
        lines = [head, *(f"  rule {rule}" for rule in self.rules)]
        if not self.cases:
            lines += ["", f"Nothing to look at. The operators of this network: {', '.join(self.operators)}."]
        return "\n".join([*lines, *_grouped("found", self.found), *_grouped("not taken", self.near_misses)])


def _grouped(title, cases):
    """The cases as lines of text; what is alike in several blocks is told once, of the first of them."""
    groups = {}
    for case in cases:
        alike = (case.line, case.trouble, tuple((answer.word, answer.holds) for answer in case.answers))
        groups.setdefault(alike, []).append(case)
    return [line for members in groups.values() for line in _group(title, members)]


def _group(title, members):
    first = members[0]
    count = f"{len(members)} x " if len(members) > 1 else ""
    code = f"{first.line}: {first.line.text}" if first.line else first.step
    said = [f"{'yes' if answer.holds else 'NO '}  {answer.word}: {answer.argument}  ({answer.why})" for answer in first.answers]
    return ["", f"{title}: {count}{_listed(case.path for case in members)}", *(f"    {line}" for line in [code, *said, *_consequence(members)])]


def _consequence(members):
    """Where attention goes, or what keeps it from there."""
    if members[0].trouble:
        return [f"->   but no attention: {members[0].trouble}"]
    afters = {}
    for site in (case.site for case in members if case.site):
        afters.setdefault(site.after, []).append(site.module)
    return [f"->   attention after {after} of {_listed(modules)}" for after, modules in afters.items()]


def _listed(paths, most=4):
    paths = list(dict.fromkeys(path or "(the model)" for path in paths))
    return ", ".join(paths[:most]) + (f", ... ({len(paths)} modules)" if len(paths) > most else "")
