"""Are rules right? Each rule's `expect:` held against the networks that it names.

Five verdicts: `found`, as expected; `missing`, too little; `noisy`, too much; `wrong`, other places
than expected or none to look at; `skipped`, a network that only running someone's code would make.
"""

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase

from surgeon import networks
from surgeon.anatomy.observation import looking_at
from surgeon.errors import SurgeonError
from surgeon.networks import code
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import match, owner

FAILED = ("missing", "noisy", "wrong")


@dataclass(frozen=True)
class Verdict:
    """What came of one case: `kind` is one of the five, `network` a source, `detail` what was found and what was expected."""

    kind: str
    rule: str
    network: str
    detail: str

    def __str__(self):
        return f"{self.kind:8} {self.rule:24} {self.network:40} {self.detail}".rstrip()


def check(rules, book, *, allow_imports=False):
    """A Verdict for each case of `rules`, network by network, as they are reached.

    Args:
        rules: those whose `expect:` is checked.
        book: all rules that apply; those of `rules` take the place of others that claim the same.
        allow_imports: build networks that are somebody's own code.
    """
    book = merged(rules, book)
    cases = {}
    for rule in rules:
        for network, expected in rule.expect.items():
            cases.setdefault(network, []).append((rule, expected))
    for network, asked in cases.items():
        if code.names_code(network) and not allow_imports:
            yield from (Verdict("skipped", rule.id, network, "somebody's own code: --allow-imports runs it") for rule, _ in asked)
        else:
            yield from _judged(network, asked, book)


def survey(rules, book, only="*"):
    """A Verdict for each network of both libraries whose source matches the glob `only`: how many sites each place has in it.

    Only the structure is looked at; no weights are filled.
    """
    book = merged(rules, book)
    places = list(dict.fromkeys(rule.place for rule in rules))
    for source in (f"{library}:{name}" for library in networks.LIBRARIES for name in networks.names(library)):
        if fnmatchcase(source, only):
            yield _counted(source, places, book)


def merged(rules, book):
    """`book` with `rules` in it, in place of those that say something of the same place and class, or bear the same name."""
    claims = {(rule.place, name) for rule in rules for name in rule.classes or ("",)}
    others = [rule for rule in book if rule.id not in {r.id for r in rules} and not claims & {(rule.place, n) for n in rule.classes or ("",)}]
    merged = [*others, *rules]
    rulebook.refuse_rivals(merged)
    return merged


def compare(expected, modules):
    """(kind, what is to be told) for the modules that own sites, against a number or the list of them."""
    if isinstance(expected, int):
        kind = "found" if len(modules) == expected else "missing" if len(modules) < expected else "noisy"
        return kind, f"{len(modules)}" if kind == "found" else f"{len(modules)} of {expected}: {_listed(modules)}"
    lacking, extra = Counter(expected) - Counter(modules), Counter(modules) - Counter(expected)
    if not lacking and not extra:
        return "found", _listed(modules)
    kind = "wrong" if lacking and extra else "missing" if lacking else "noisy"
    parts = [f"{word} {_listed(list(those.elements()))}" for word, those in (("lacks", lacking), ("has", extra)) if those]
    return kind, " and ".join(parts)


def _judged(network, asked, book):
    """Verdicts of all rules that expect something of one network; it is built and looked at once."""
    try:
        model = networks.build(network, empty=True)
        with looking_at(model) as seen:
            for rule, expected in asked:
                yield _verdict(rule, network, expected, seen, book)
    except SurgeonError as error:
        yield from (Verdict("wrong", rule.id, network, str(error)) for rule, _ in asked)


def _verdict(rule, network, expected, seen, book):
    found = match.candidates(*rulebook.for_place(rule.place, book), seen.scene)
    try:
        modules = [owner.anchor(candidate, speaker, seen.scene, seen.rewrites).module for candidate, speaker in found]
    except SurgeonError as error:
        return Verdict("wrong", rule.id, network, str(error))
    return Verdict(compare(expected, modules)[0], rule.id, network, compare(expected, modules)[1])


def _counted(source, places, book):
    try:
        with looking_at(networks.build(source, empty=True)) as seen:
            counts = {place: len(match.candidates(*rulebook.for_place(place, book), seen.scene)) for place in places}
    except SurgeonError as error:
        return Verdict("wrong", "", source, str(error))
    except Exception as error:  # one network of a thousand must not end the survey
        return Verdict("wrong", "", source, f"unexpected {type(error).__name__}: {error}")
    return Verdict("found", "", source, ", ".join(f"{place} {count}" for place, count in counts.items()))


def _listed(paths, most=6):
    paths = [path or "(the model)" for path in paths]
    return ", ".join(paths[:most]) + (f", ... ({len(paths)})" if len(paths) > most else "") or "none"
