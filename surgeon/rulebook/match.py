"""From rules and an observed run to candidates: pure, changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from surgeon.anatomy.nesting import blocks_among, outermost
from surgeon.anatomy.scene import Scene, class_names
from surgeon.rulebook.words import WORDS, Candidate, Finding

if TYPE_CHECKING:
    from torch import nn

    from surgeon.rulebook.grammar import Find, Rule
    from surgeon.trace.graph import Graph

Item = TypeVar("Item")


class Match(NamedTuple):
    """A candidate, and the rule that found it."""

    candidate: Candidate
    rule: Rule


class Scope(NamedTuple):
    """Which rule applies where: the scene that it looks at, and whether it may claim a candidate found there."""

    rule: Rule
    scene: Scene
    may_claim: Callable[[Candidate], bool]


def candidates(general: Rule | None, special: Sequence[Rule], scene: Scene) -> list[Match]:
    """What the rules of one place describe in `scene`, in order of execution; in a module that runs twice, once.

    A rule for a class wins over the general one inside every module of that class, and over a rule for
    what holds that module.

    Args:
        general: the rule for any network, or None.
        special: the rules that are for single classes.
    """
    by_value = {}
    for scope in scopes(general, special, scene):
        for candidate in find(scope.rule, scope.scene):
            if scope.may_claim(candidate):
                by_value[candidate.value] = Match(candidate, scope.rule)
    in_order = sorted(by_value.values(), key=lambda match: match.candidate.value.order)
    return first_of_each(in_order, lambda match: _step_of(match.candidate))


def first_of_each(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[Item]:
    """The first item for each `key(item)`, in the order of these firsts."""
    found: dict[Hashable, Item] = {}
    for item in items:
        found.setdefault(key(item), item)
    return list(found.values())


def _step_of(candidate: Candidate) -> Hashable:
    """The step of a module's forward that the candidate is, whichever call of the module it was seen in."""
    graph = candidate.graph
    node = graph.makers.get(candidate.value)
    return (graph.path, graph.nodes.index(node), node.outputs.index(candidate.value)) if node else candidate.value


def scopes(general: Rule | None, special: Sequence[Rule], scene: Scene) -> list[Scope]:
    """Which rule applies where: those for classes first, each inside its modules."""
    nearest = {graph: _nearest(special, graph.module) for graph in scene.graphs} if special else {}
    claimed = {graph: rule for graph, rule in nearest.items() if rule is not None}
    found = [Scope(rule, scene.of(graph), _belongs_to(graph, claimed)) for graph, rule in claimed.items()]
    return found if general is None else [*found, Scope(general, scene, _belongs_to(None, claimed))]


def _belongs_to(scope: Graph | None, claimed: dict[Graph, Rule]) -> Callable[[Candidate], bool]:
    """True for candidates whose innermost claimed module is `scope`; None is outside them all."""

    def belongs(candidate: Candidate) -> bool:
        graph: Graph | None = candidate.graph
        while graph is not None and graph not in claimed:
            graph = graph.parent
        return graph is scope

    return belongs


def _nearest(special: Sequence[Rule], module: nn.Module) -> Rule | None:
    """The rule for the class of `module`; one for a derived class wins over one for its base. None if there is none."""
    for name in class_names(module):
        for rule in special:
            if name in rule.classes:
                return rule
    return None


def find(rule: Rule, scene: Scene) -> list[Candidate]:
    """What one rule describes in `scene`, in order of execution."""
    part = narrowed(rule, scene)
    if part is None or rule.find is None:
        return []
    parts = part.streams if _is_about_trunks(rule.find) else [part]
    return [candidate for stream in parts for candidate in _found(rule.find, stream)]


def _is_about_trunks(find: Find) -> bool:
    """Whether it looks at steps of the trunk: a network has one for each image."""
    return any(WORDS[word].along == "trunk" for word in find.words())


def _found(find: Find, scene: Scene) -> list[Candidate]:
    found = [candidate for candidate in subjects(find, scene) if _holds(find, candidate, scene)]
    return kept(find.keep, found, scene)


def _holds(find: Find, candidate: Candidate, scene: Scene) -> bool:
    return all(finding.holds for _, _, finding in findings(find, candidate, scene))


def narrowed(rule: Rule, scene: Scene) -> Scene | None:
    """The part of the scene that the rule looks at; None if there is no such part, or nothing to look for."""
    if rule.find is None:
        return None
    return scene.inside(rule.find.inside) if rule.find.inside else scene


def findings(find: Find, candidate: Candidate, scene: Scene) -> Iterator[tuple[str, Any, Finding]]:
    """(word, argument, Finding) for each word of `find`, for one candidate."""
    for word, argument in find.words().items():
        yield word, argument, WORDS[word].judge(candidate, argument, scene)


def subjects(find: Find, scene: Scene) -> list[Candidate]:
    """Every value that the words could be about: results of an operator, steps of the trunk, or the image."""
    words = find.words()
    for name, argument in words.items():
        list_subjects = WORDS[name].subjects
        if list_subjects is not None:
            return list_subjects(argument, words, scene)
    raise AssertionError("the grammar lets no rule pass that has no word for what to look at")


def kept(which: str, found: Iterable[Candidate], scene: Scene) -> list[Candidate]:
    """Those of the finds that the word `keep` keeps, in order of execution."""

    def size(candidate: Candidate) -> tuple[int, ...]:
        return scene.maps.known(candidate.value).size

    in_order = sorted(found, key=_order)
    if which == "first":
        return in_order[:1]
    if which == "last":
        return in_order[-1:]
    if which == "first of each size":
        return first_of_each(in_order, size)
    if which == "last of each size":
        # A later one takes the place of an earlier one of its size.
        by_size = {size(candidate): candidate for candidate in in_order}
        return sorted(by_size.values(), key=_order)
    if which in ("outermost", "blocks"):
        adds = [candidate.step for candidate in in_order]
        among = set(outermost(adds) if which == "outermost" else blocks_among(adds, scene.maps))
        return [candidate for candidate in in_order if candidate.step in among]
    return in_order


def _order(candidate: Candidate) -> int:
    return candidate.value.order
