"""From what was observed of a model to a plan: which sites, whether the module fits, what it costs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from surgeon import attention as modules
from surgeon import rulebook
from surgeon.anatomy.liveness import is_unused
from surgeon.anatomy.scene import class_names
from surgeon.attention.building import check_names
from surgeon.attention.gate import INITS
from surgeon.errors import BadOption, BadPlan, NoSite, SurgeonError, UnusedSite, suggest
from surgeon.rulebook import match, missing, owner
from surgeon.sites import Plan

if TYPE_CHECKING:
    from surgeon.anatomy.observation import Observation
    from surgeon.anatomy.scene import Scene
    from surgeon.rulebook.anchor import Anchor
    from surgeon.rulebook.grammar import Rule
    from surgeon.rulebook.words import Candidate
    from surgeon.sites import Site
    from surgeon.trace.graph import Value

# A name, or a class or callable that makes a module from the number of channels.
Attention = str | Callable[..., nn.Module]
# A place, a rule file or a glob over module paths, or several.
Where = str | Path | Iterable[str | Path]
# Weights and multiply-adds, None where nobody wants to know.
Cost = tuple[int | None, int | None]


class Target(NamedTuple):
    """The value that a rule means, and where attention goes: there, or a step before it where nobody can own it."""

    value: Value
    anchor: Anchor


def check_options(attention: Attention, init: str, options: Iterable[str]) -> None:
    """Refuse, before any work, an attention that nobody knows and options that it does not take."""
    if init not in INITS:
        raise BadOption(f"init can't be {init!r}. {suggest(init, INITS)}")
    check_names(attention, options)


def plan(
    observation: Observation,
    attention: Attention,
    where: Where,
    init: str,
    rules: Sequence[Rule],
    options: Mapping[str, Any],
    *,
    costs: bool = True,
) -> Plan:
    """The Plan for one observed model; without `costs`, which take as long as the rest, if nobody will read them."""
    scene = observation.scene
    targets = _anchors(observation, where, rules)
    _refuse_second([target.anchor for target in targets], scene)
    fitting = _Fitting(scene, attention, init, options, costs=costs)
    decided = Plan(
        attention=modules.spec_of(attention) or modules.name_of(attention),
        sites=tuple(_sites(targets, scene, fitting, is_grid=_is_grid(scene, rules))),
        options=dict(options),
        init=init,
        fingerprint=fingerprint(observation.model),
        factory=None if isinstance(attention, str) else attention,
    )
    if not any(site.read for site in decided):
        # To the line that called surgeon.inject or surgeon.plan.
        warnings.warn(decided.notes[0], UnusedSite, stacklevel=3)
    return decided


def fingerprint(model: nn.Module) -> str:
    """A short hash of the names of all weights and buffers, in order; attention of surgeon's not counted."""
    gates = tuple(f"{path}." for path, gate in modules.attention_modules(model).items() if gate.site is not None)
    names = [name for name in model.state_dict(keep_vars=True) if not name.startswith(gates or "\0")]
    return sha256("\n".join(names).encode()).hexdigest()[:16]


def _anchors(observation: Observation, where: Where, rules: Sequence[Rule]) -> list[Target]:
    """Where attention goes for one place, or for several: each value once, in order of execution."""
    places = [where] if isinstance(where, (str, Path)) else where
    found = (target for place in places for target in _anchors_of(observation, str(place), rules))
    by_value = match.first_of_each(found, lambda target: target.value)
    in_order = sorted(by_value, key=lambda target: target.value.order)
    # A block that runs twice has two such values, and one forward to hold them.
    return match.first_of_each(in_order, lambda target: (target.anchor.module, target.anchor.after))


def _anchors_of(observation: Observation, place: str, rules: Sequence[Rule]) -> list[Target]:
    if ("." in place or "*" in place) and not place.endswith((".yaml", ".yml")):
        return [Target(anchor.value, anchor) for anchor in _after_modules(observation, place)]
    general, special = rulebook.for_place(place, rules)
    found = match.candidates(general, special, observation.scene)
    if not found:
        raise NoSite(_no_site((general or special[0]).place, observation, rules))
    return [_target(candidate, rule, observation) for candidate, rule in found]


def _target(candidate: Candidate, rule: Rule, observation: Observation) -> Target:
    """The value after which the rule splices, an operand by its name or the candidate itself, and its anchor."""
    value = candidate.names.get(rule.splice.removeprefix("after "), candidate.value)
    return Target(value, owner.anchor(candidate, rule, observation.scene, observation.rewrites))


def _is_grid(scene: Scene, rules: Iterable[Rule]) -> bool:
    """Whether tokens lie row by row, as they do unless a rule says that this network shuffles them."""
    shuffled = {name for rule in rules if rule.pixels == "shuffled" for name in rule.classes}
    return shuffled.isdisjoint(class_names(scene.graph.module))


def _sites(targets: Iterable[Target], scene: Scene, fitting: _Fitting, *, is_grid: bool) -> Iterator[Site]:
    for value, anchor in targets:
        cost = fitting.cost_at(anchor, anchor.size(is_grid=is_grid))
        yield anchor.site(is_grid=is_grid, read=not is_unused(value, scene), cost=cost)


def _after_modules(observation: Observation, pattern: str) -> list[Anchor]:
    """The anchors after the modules whose path matches `pattern`, attention left out."""
    scene = observation.scene
    inner = [graph for graph in scene.graphs if graph.parent and not isinstance(graph.module, modules.Gate)]
    graphs = [graph for graph in inner if fnmatchcase(graph.path, pattern)]
    if not graphs:
        paths = [graph.path for graph in scene.graphs if graph.path]
        raise NoSite(f"{pattern!r} matches no module that runs. {suggest(pattern, paths[:40])}")
    return [owner.after_module(graph, scene, observation.rewrites) for graph in graphs]


def _no_site(place: str, observation: Observation, rules: Sequence[Rule]) -> str:
    others = {name: count for name, count in counts(observation, rules).items() if count and name != place}
    there = ", ".join(f"{name} ({count})" for name, count in others.items()) or "none"
    why = missing.why(*rulebook.for_place(place, rules), observation.scene)
    kind = type(observation.scene.graph.module).__name__
    reason = f": {why}" if why else ""
    return f"{place!r} found no place in {kind}{reason}. Places that do exist here: {there}."


def counts(observation: Observation, rules: Sequence[Rule]) -> dict[str, int]:
    """{place: number of sites} for all places that the rules know."""
    scene, places = observation.scene, rulebook.places(rules)
    return {place: len(match.candidates(*rulebook.for_place(place, rules), scene)) for place in places}


def _refuse_second(anchors: Iterable[Anchor], scene: Scene) -> None:
    """Refuse an anchor at a value that has a gate already, or that is one's output."""
    gates = modules.attention_modules(scene.graph.module)
    for anchor in anchors:
        for path, gate in gates.items():
            if gate.site is not None and (_is_same(gate.site, anchor) or _is_behind(path, anchor)):
                taken = f"{gate.site}: already has attention ({path})."
                raise BadPlan(f"{taken} Take it out with surgeon.remove(model), or choose other sites.")


def _is_same(site: Site, anchor: Anchor) -> bool:
    return (site.module, site.after) == (anchor.module, anchor.after)


def _is_behind(path: str, anchor: Anchor) -> bool:
    """Whether the anchor is right after the gate at `path`, whoever owns it."""
    return path in (anchor.module, f"{anchor.module}.{anchor.after}".strip("."))


class _Fitting:
    """Tries the attention on fake maps, once for each size: whether it fits there, and what it costs."""

    def __init__(
        self, scene: Scene, attention: Attention, init: str, options: Mapping[str, Any], *, costs: bool
    ) -> None:
        self.attention, self.init, self.options, self.costs = attention, init, options, costs
        weights = scene.graph.module.parameters()
        self.dtype = next((weight.dtype for weight in weights if weight.is_floating_point()), torch.float32)
        self.known: dict[tuple[int, tuple[int, ...]], Cost] = {}

    def cost_at(self, anchor: Anchor, size: tuple[int, ...]) -> Cost:
        """What the attention costs at `anchor`: (weights, multiply-adds), both None where costs are not wanted.

        Raises:
            BadModule, BadOption: it does not fit there; names the place.
        """
        key = (anchor.map.channels, size)
        if key not in self.known:
            try:
                self.known[key] = self._try(*key)
            except SurgeonError as error:
                raise type(error)(f"{anchor}: {error}") from None
        return self.known[key]

    def _try(self, channels: int, size: tuple[int, ...]) -> Cost:
        with torch.device("meta"):
            gate = modules.build(self.attention, channels, init=self.init, dims=len(size), **self.options)
        if isinstance(gate, modules.Foreign):
            modules.probe(gate, (2, channels, *size), self.dtype)
        return modules.cost(gate, (channels, *size)) if self.costs else (None, None)
