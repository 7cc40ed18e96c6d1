"""What `where=` means in an observed run: places, rule files, module paths and classes become targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from surgeon import attention as modules
from surgeon import rulebook
from surgeon.anatomy.scene import class_names
from surgeon.errors import BadOption, BadPlan, NoSite, SurgeonError, UnknownName, suggest
from surgeon.paths import matches
from surgeon.rulebook import match, missing, owner
from surgeon.rulebook.book import SUFFIXES

if TYPE_CHECKING:
    from surgeon.anatomy.observation import Observation
    from surgeon.rulebook.anchor import Anchor
    from surgeon.rulebook.grammar import Rule
    from surgeon.rulebook.words import Candidate
    from surgeon.trace.graph import Graph, Value

# A place, a rule file, the path of a module or a glob over paths, a class or its name.
Aim = str | Path | type[nn.Module]
# One of them, or several.
Where = Aim | Iterable[Aim]


class Target(NamedTuple):
    """The value that is meant, and where attention goes: there, or a step before it where nobody can own it."""

    value: Value
    anchor: Anchor


def targets(observation: Observation, where: Where, rules: Sequence[Rule], *, replace: bool = False) -> list[Target]:
    """Where attention goes for one aim, or for several: each value once, in order of execution.

    Args:
        replace: attention takes the place of the modules that are meant.

    Raises:
        NoSite, UnknownName: nothing here is meant. BadOption: `where` is none of what it may be.
        BadPlan, Untraceable: attention can't go there.
    """
    found = (target for aim in _listed(where) for target in _targets_of(observation, aim, rules, replace))
    by_value = match.first_of_each(found, lambda target: target.value)
    in_order = sorted(by_value, key=lambda target: target.value.order)
    # A block that runs twice has two such values, and one forward to hold them.
    return match.first_of_each(in_order, lambda target: (target.anchor.module, target.anchor.after))


def counts(observation: Observation, rules: Sequence[Rule]) -> dict[str, int]:
    """{place: number of sites} for all places that the rules know."""
    scene, places = observation.scene, rulebook.places(rules)
    by_place = {place: rulebook.for_place(place, rules) for place in places}
    found = {place: match.candidates(*those, scene) for place, those in by_place.items()}
    more = {place: _more_elsewhere(by_place[place], matches, observation) for place, matches in found.items()}
    return {place: more[place] or _number(matches, observation) for place, matches in found.items()}


def _more_elsewhere(
    rules: tuple[Rule | None, list[Rule]], found: Sequence[match.Match], observation: Observation
) -> int:
    """How many more rules find on a larger image, if that is more than here; else 0."""
    larger = observation.larger
    there = 0 if larger is None else len(match.candidates(*rules, larger))
    return there if there > len(found) else 0


def _number(found: Sequence[match.Match], observation: Observation) -> int:
    """How many sites there are; one module may hold those on the ways of several images."""
    if len(observation.scene.maps.images) == 1:
        return len(found)
    try:
        anchors = [_target(candidate, rule, observation).anchor for candidate, rule in found]
    except SurgeonError:  # a plan says why
        return len(found)
    return len({(anchor.module, anchor.after) for anchor in anchors})


def _listed(where: Where) -> list[Aim]:
    # A Sequential can be iterated, and nobody means its children.
    if isinstance(where, (str, Path, type, nn.Module)) or not isinstance(where, Iterable):
        return [_checked(where)]
    return [_checked(aim) for aim in where]


def _checked(aim: object) -> Aim:
    if isinstance(aim, (str, Path)) or (isinstance(aim, type) and issubclass(aim, nn.Module)):
        return aim
    raise BadOption(
        f"where can't be an object of {type(aim).__name__}. It is a place such as 'residual', the path of a module "
        "such as 'layer4', a class of modules, a rule file, or a list of these."
    )


def _targets_of(observation: Observation, aim: Aim, rules: Sequence[Rule], replace: bool) -> list[Target]:
    if isinstance(aim, Path) or (isinstance(aim, str) and aim.endswith(SUFFIXES)):
        return _at_place(observation, str(aim), rules, replace)
    if isinstance(aim, str) and aim in rulebook.places(rules):
        return _at_place(observation, aim, rules, replace)
    beside = _instead if replace else _after
    return [beside(graph, observation) for graph in _meant(observation, aim, rules)]


def _at_place(observation: Observation, place: str, rules: Sequence[Rule], replace: bool) -> list[Target]:
    general, special = rulebook.for_place(place, rules)
    found = match.candidates(general, special, observation.scene)
    more = _more_elsewhere((general, special), found, observation)
    if more:
        raise NoSite(_hidden(place, len(found), more, observation))
    if not found:
        raise _no_site(general, special, observation, rules)
    if replace:
        return [_instead(_module_of(candidate, place), observation) for candidate, _ in found]
    return [_target(candidate, rule, observation) for candidate, rule in found]


def _hidden(place: str, here: int, there: int, observation: Observation) -> str:
    """Why an image is too small for a place."""
    scenes = (observation.scene, observation.larger)
    small, large = (" x ".join(map(str, scene.maps.image.shape[2:])) for scene in scenes if scene is not None)
    return (
        f"{place!r} finds {here} of its {there} places on {small} pixels, where some maps are a single window or pixel:"
        f" plan with a larger image, as example_inputs= of {large}; the network takes small ones all the same."
    )


def _target(candidate: Candidate, rule: Rule, observation: Observation) -> Target:
    """The value after which the rule splices, an operand by its name or the candidate itself, and its anchor."""
    value = candidate.names.get(rule.splice.removeprefix("after "), candidate.value)
    return Target(value, owner.anchor(candidate, rule, observation.scene, observation.rewrites))


def _module_of(candidate: Candidate, place: str) -> Graph:
    """The call of the module that makes the value, and that attention takes the place of."""
    node = candidate.node
    if node is None or node.child is None or candidate.value not in node.outputs:
        raise BadPlan(
            f"replace=True: {place!r} is no place of modules that attention could replace. "
            "Say where='gate', or which modules: by path, by class."
        )
    return node.child


def _instead(graph: Graph, observation: Observation) -> Target:
    anchor = owner.instead_of(graph, observation.scene)
    return Target(anchor.value, anchor)


def _after(graph: Graph, observation: Observation) -> Target:
    anchor = owner.after_module(graph, observation.scene, observation.rewrites)
    return Target(anchor.value, anchor)


def _meant(observation: Observation, aim: str | type[nn.Module], rules: Sequence[Rule]) -> list[Graph]:
    """The runs of the modules that `aim` matches by path or by class, surgeon's own left out."""
    scene = observation.scene
    ran = [graph for graph in scene.graphs if graph.parent and not isinstance(graph.module, modules.Gate)]
    if isinstance(aim, type):
        found = [graph for graph in ran if isinstance(graph.module, aim)]
    else:
        found = [graph for graph in ran if matches(graph.path, aim)]
        found = found or [graph for graph in ran if is_called(graph.module, aim)]
    if not found:
        raise _nothing(observation, aim, ran, rules)
    return found


def is_called(module: nn.Module, name: str) -> bool:
    """Whether `name` is that of the module's class or of one that it derives from: bare, or with a package before it.

    >>> is_called(nn.MaxPool2d(2), "torch.nn.MaxPool2d"), is_called(nn.MaxPool2d(2), "MaxPool2d")
    (True, True)
    """
    package, _, bare = name.rpartition(".")
    return any(
        full == name or (full.endswith(f".{bare}") and (not package or full.startswith(f"{package}.")))
        for full in class_names(module)
    )


def _nothing(
    observation: Observation, aim: str | type[nn.Module], ran: Sequence[Graph], rules: Sequence[Rule]
) -> NoSite | UnknownName:
    """Why nothing that ran is meant by `aim`."""
    kind = type(observation.scene.graph.module).__name__
    if isinstance(aim, type):
        name, classes = aim.__qualname__, {type(graph.module).__qualname__ for graph in ran}
        return NoSite(f"no {name} runs in {kind}. {suggest(name, classes)}")
    if aim in dict(observation.model.named_modules()):
        inside = f"{aim}.*"
        way_out = f" Choose what runs in it: {inside!r}." if any(matches(graph.path, inside) for graph in ran) else ""
        return NoSite(f"{aim!r} is a module of {kind} whose forward does not run.{way_out}")
    if "." in aim or "*" in aim:
        paths = dict.fromkeys(graph.path for graph in ran)
        return NoSite(f"{aim!r} matches no module that runs. {suggest(aim, [*paths][:20])}")
    tops = dict.fromkeys(graph.path for graph in ran if "." not in graph.path)
    told = f" Modules that run: {', '.join([*tops][:12])}." if tops else ""
    return UnknownName(f"unknown place {aim!r}. {suggest(aim, rulebook.places(rules))}{told}")


def _no_site(general: Rule | None, special: Sequence[Rule], observation: Observation, rules: Sequence[Rule]) -> NoSite:
    """Why the rules of one place found nothing, and what there is."""
    place = (general or special[0]).place
    others = {name: count for name, count in counts(observation, rules).items() if count and name != place}
    there = ", ".join(f"{name} ({count})" for name, count in others.items()) or "none"
    why = missing.why(general, special, observation.scene)
    kind = type(observation.scene.graph.module).__name__
    reason = f": {why}" if why else ""
    return NoSite(f"{place!r} found no place in {kind}{reason}. Places that do exist here: {there}.")
