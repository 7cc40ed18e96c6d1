"""From a network, or from plans alone, to the sketch of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from surgeon.anatomy.counting import macs
from surgeon.attention import attention_modules
from surgeon.pages.forward import Forward
from surgeon.pages.placing import Places, Spot
from surgeon.pages.sketch import Box, Mark, Sketch, Stage
from surgeon.pages.units import units

if TYPE_CHECKING:
    from torch import nn

    from surgeon.anatomy.observation import Observation
    from surgeon.pages.units import Unit
    from surgeon.rulebook.grammar import Rule
    from surgeon.sites import Plan, Site
    from surgeon.trace.graph import Graph

# The stage of sites in modules that did not run when the network was watched.
ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Entry:
    """A site to be drawn: its number, what goes there, and how far that has opened, where it is known."""

    number: int
    site: Site
    attention: str
    opened: float | None = None


def entries(plans: Iterable[Plan], opened: Mapping[str, float | None] | None = None) -> list[Entry]:
    """The sites of some plans, one plan behind the other.

    Args:
        opened: how far gates have opened, by the path of each.
    """
    shares = opened or {}
    sites = [(site, _short(plan.attention)) for plan in plans for site in plan]
    paths = _paths((site.module, name) for site, name in sites)
    return [Entry(n, site, name, shares.get(path)) for n, ((site, name), path) in enumerate(zip(sites, paths))]


def _paths(named: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Paths of gates, from the modules that own them and their names: the second of a name is `cbam_1`."""
    seen: Counter[tuple[str, str]] = Counter()
    for module, name in named:
        path = f"{module}.{name}".strip(".")
        yield f"{path}_{seen[module, name]}" if seen[module, name] else path
        seen[module, name] += 1


def _short(attention: str) -> str:
    """`timm:gc` as `gc`, `package.module:Class` as `Class`."""
    return attention.rpartition(":")[2]


def draw(observation: Observation, sites: Sequence[Entry], rules: Sequence[Rule]) -> Sketch:
    """The sketch of an observed network. rules: what tells a branch from its shortcut."""
    scene, model = observation.scene, observation.model
    forwards = [Forward(unit, scene.maps) for unit in units(scene, rules)]
    places = Places(observation, forwards)
    found: dict[int | None, list[Mark]] = {}
    for entry in sites:
        spot = places.of(entry.site)
        found.setdefault(spot and spot.unit, []).append(_mark(entry, spot, forwards))
    cost = macs(observation)
    boxes = [_box(forward, found.get(number, []), cost) for number, forward in enumerate(forwards)]
    image = scene.maps.known(scene.maps.image)
    return Sketch(
        type(model).__name__,
        (*_stages(boxes), *_elsewhere(found.get(None, []))),
        " × ".join(map(str, (image.channels, *image.size))),
        _parameters([model]),
        cost[scene.graph],
        part=scene.graph.path,
    )


def draw_alone(sites: Sequence[Entry]) -> Sketch:
    """The sketch of sites where the network itself is not at hand."""
    marks = [_mark(entry, Spot(0, 0), []) for entry in sites]
    boxes = [
        Box(module, "", group[0].site.channels, group[0].site.size, marks=tuple(group))
        for module, found in groupby(marks, key=lambda mark: mark.site.module)
        for group in [[*found]]
    ]
    return Sketch("", tuple(_stages(boxes)), is_whole=False)


def _mark(entry: Entry, spot: Spot | None, forwards: Sequence[Forward]) -> Mark:
    site = entry.site
    if spot is None or not forwards:
        return Mark(entry.number, site, entry.attention, opened=entry.opened)
    forward = forwards[spot.unit]
    told = (
        (f"instead of {site.module}" if site.replaces else f"in {site.module}, after {site.after}")
        if spot.inside
        else ""
    )
    cell, joined = forward.cell_of(spot.step), forward.joined_at(spot.step)
    return Mark(entry.number, site, entry.attention, spot.step, cell, joined, told, entry.opened)


def _box(forward: Forward, marks: Sequence[Mark], cost: Mapping[Graph, int]) -> Box:
    unit = forward.unit
    channels, size = unit.made(forward.maps)
    cells = forward.cells
    return Box(
        _name(unit),
        _kind(unit),
        channels,
        size,
        _parameters([part.module for part in unit.parts]),
        sum(cost[part] for part in unit.parts),
        forward.lines(),
        forward.lines(marks) if marks else (),
        len(cells),
        frozenset(number for number, cell in enumerate(cells) if cell.on_shortcut),
        tuple(marks),
    )


def _name(unit: Unit) -> str:
    paths = [part.path for part in unit.parts]
    if not paths:
        return unit.graph.path or unit.nodes[-1].op
    return paths[0] if len(paths) == 1 else f"{paths[0]} … {paths[-1].removeprefix(f'{unit.graph.path}.')}"


def _kind(unit: Unit) -> str:
    """The classes of what a unit consists of, each once."""
    return ", ".join(dict.fromkeys(type(part.module).__name__ for part in unit.parts))


def _parameters(modules: Iterable[nn.Module]) -> int:
    """The weights of some modules, each once, without those of attention."""
    weights = {weight for module in modules for weight in module.parameters()}
    own = {weight for module in modules for gate in attention_modules(module).values() for weight in gate.parameters()}
    return sum(weight.numel() for weight in weights - own)


def _stages(boxes: Sequence[Box]) -> list[Stage]:
    """The boxes in groups of one size; what makes no map of its own belongs to the boxes before it."""
    groups: list[list[Box]] = []
    for box in boxes:
        if groups and (not box.channels or box.size == groups[-1][0].size):
            groups[-1].append(box)
        else:
            groups.append([box])
    return [Stage(_title(group, boxes), group[0].size, tuple(group)) for group in groups]


def _title(group: Sequence[Box], boxes: Sequence[Box]) -> str:
    """The modules that hold a group of boxes and no other, in as few words as there are."""
    if len(group) == 1:
        return group[0].name
    told = [box for box in group if box.parameters] or group
    inside, outside = ([box.name.split(" … ")[0] for box in found] for found in (told, _others(group, boxes)))
    names = [*dict.fromkeys(_outermost(name, outside) for name in inside)]
    return ", ".join(names) if len(names) < 3 else f"{names[0]} … {names[-1]}"


def _others(group: Sequence[Box], boxes: Sequence[Box]) -> list[Box]:
    own = {id(box) for box in group}
    return [box for box in boxes if id(box) not in own]


def _outermost(name: str, outside: Sequence[str]) -> str:
    """The longest way up from a module that meets none of those outside."""
    parts = name.split(".")
    for count in range(1, len(parts)):
        path = ".".join(parts[:count])
        if not any(other == path or other.startswith(f"{path}.") for other in outside):
            return path
    return name


def _elsewhere(marks: Sequence[Mark]) -> list[Stage]:
    """Sites in modules that did not run: no site of a plan is left out."""
    boxes = [Box(mark.site.module, "", mark.site.channels, mark.site.size, marks=(mark,)) for mark in marks]
    return [Stage(ELSEWHERE, (), tuple(boxes))] if boxes else []
