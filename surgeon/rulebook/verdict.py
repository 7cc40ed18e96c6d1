"""Are rules right? Each rule's `expect:` held against the networks that it names.

Five verdicts: `found`, as expected; `missing`, too little; `noisy`, too much; `wrong`, other places
than expected or none to look at; `skipped`, a network that only running someone's code would make.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from surgeon import networks
from surgeon.anatomy.watch import observed
from surgeon.errors import SurgeonError
from surgeon.networks import code
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import match, owner

if TYPE_CHECKING:
    from surgeon.anatomy.observation import Observation
    from surgeon.rulebook.grammar import Rule

FAILED = ("missing", "noisy", "wrong")

Kind = Literal["found", "missing", "noisy", "wrong", "skipped"]
# A number of sites, or the paths of the modules that own them.
Expected = int | tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """The result of one case.

    kind: one of the five. network: its source. detail: what was found, and what was expected.
    """

    kind: Kind
    rule: str
    network: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind:8} {self.rule:24} {self.network:40} {self.detail}".rstrip()


def check(rules: Sequence[Rule], book: Sequence[Rule], *, allow_imports: bool = False) -> Iterator[Verdict]:
    """A Verdict for each case of `rules`, network by network, as they are reached.

    Args:
        rules: those whose `expect:` is checked.
        book: all rules that apply; those of `rules` take the place of others that claim the same.
        allow_imports: build networks that are somebody's own code.
    """
    book = merged(rules, book)
    cases: dict[str, list[tuple[Rule, Expected]]] = {}
    for rule in rules:
        for network, expected in rule.expect.items():
            cases.setdefault(network, []).append((rule, expected))
    for network, expectations in cases.items():
        if code.names_code(network) and not allow_imports:
            detail = "somebody's own code: --allow-imports runs it"
            yield from (Verdict("skipped", rule.id, network, detail) for rule, _ in expectations)
        else:
            yield from _judged(network, expectations, book)


def survey(rules: Sequence[Rule], book: Sequence[Rule], only: str = "*") -> Iterator[Verdict]:
    """How many sites each place has in the networks of both libraries: a Verdict for each.

    Only the structure is looked at; no weights are filled.

    Args:
        only: a glob over the networks' sources.
    """
    book = merged(rules, book)
    places = list(dict.fromkeys(rule.place for rule in rules))
    for source in (f"{library}:{name}" for library in networks.LIBRARIES for name in networks.names(library)):
        if fnmatchcase(source, only):
            yield _counted(source, places, book)


def merged(rules: Sequence[Rule], book: Sequence[Rule]) -> list[Rule]:
    """`book` with `rules` in it, in place of those that claim the same place and class, or bear the same name."""
    ids = {rule.id for rule in rules}
    claims = {claim for rule in rules for claim in _claims(rule)}
    others = [rule for rule in book if rule.id not in ids and claims.isdisjoint(_claims(rule))]
    merged = [*others, *rules]
    rulebook.refuse_rivals(merged)
    return merged


def _claims(rule: Rule) -> list[tuple[str, str]]:
    """The (place, class) pairs that a rule is for; the class is empty in a general rule."""
    return [(rule.place, name) for name in rule.classes or ("",)]


def compare(expected: Expected, modules: Sequence[str]) -> tuple[Kind, str]:
    """The kind of verdict, and its detail, for the modules that own sites, against a number or the list of them."""
    if isinstance(expected, int):
        return _compare_number(expected, modules)
    lacking, extra = Counter(expected) - Counter(modules), Counter(modules) - Counter(expected)
    if not lacking and not extra:
        return "found", _listed(modules)
    parts = []
    if lacking:
        parts.append(f"lacks {_listed(list(lacking.elements()))}")
    if extra:
        parts.append(f"has {_listed(list(extra.elements()))}")
    return "wrong" if lacking and extra else "missing" if lacking else "noisy", " and ".join(parts)


def _compare_number(expected: int, modules: Sequence[str]) -> tuple[Kind, str]:
    if len(modules) == expected:
        return "found", f"{len(modules)}"
    return "missing" if len(modules) < expected else "noisy", f"{len(modules)} of {expected}: {_listed(modules)}"


def _judged(network: str, expectations: Sequence[tuple[Rule, Expected]], book: Sequence[Rule]) -> Iterator[Verdict]:
    """Verdicts of all rules that expect something of one network; it is built and looked at once."""
    try:
        model = networks.build(network, empty=True)
        examples = (rule.example for rule, _ in expectations if rule.example)
        with observed(model, next(examples, None) or rulebook.example_for(model, book)) as observation:
            for rule, expected in expectations:
                yield _verdict(rule, network, expected, observation, book)
    except SurgeonError as error:
        yield from (Verdict("wrong", rule.id, network, str(error)) for rule, _ in expectations)


def _verdict(rule: Rule, network: str, expected: Expected, observation: Observation, book: Sequence[Rule]) -> Verdict:
    try:
        modules = owners(rule.place, observation, book)
    except SurgeonError as error:
        return Verdict("wrong", rule.id, network, str(error))
    kind, detail = compare(expected, modules)
    return Verdict(kind, rule.id, network, detail)


def owners(place: str, observation: Observation, book: Sequence[Rule]) -> list[str]:
    """The paths of the modules that own the sites of one place, in order of execution."""
    found = match.candidates(*rulebook.for_place(place, book), observation.scene)
    return [owner.anchor(candidate, rule, observation.scene, observation.rewrites).module for candidate, rule in found]


def _counted(source: str, places: Iterable[str], book: Sequence[Rule]) -> Verdict:
    try:
        with observed(networks.build(source, empty=True)) as observation:
            found = {place: match.candidates(*rulebook.for_place(place, book), observation.scene) for place in places}
    except SurgeonError as error:
        return Verdict("wrong", "", source, str(error))
    except Exception as error:  # one network of a thousand must not end the survey
        return Verdict("wrong", "", source, f"unexpected {type(error).__name__}: {error}")
    return Verdict("found", "", source, ", ".join(f"{place} {len(sites)}" for place, sites in found.items()))


def _listed(paths: Sequence[str], most: int = 6) -> str:
    names = [path or "(the model)" for path in paths]
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "") or "none"
