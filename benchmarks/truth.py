"""What there is in a network by the list, benchmarks/clients.yaml, and whether the sites of a plan are at just that."""

from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

from surgeon.anatomy import sizes
from surgeon.anatomy.watch import observed
from surgeon.trace.axes import MOVES, VIEWS

LIST = Path(__file__).with_name("clients.yaml")


@cache
def listed():
    """What clients.yaml says: {"blocks": {class: shortcuts}, "networks": {name: entry}}."""
    return YAML(typ="safe").load(LIST)


def expected(place, entry, model):
    """What the list says of a place: a number, or the paths of the modules that make the maps there."""
    if place == "input":
        return entry.get("input_sites", 1)
    if place in entry:
        return entry[place]
    part = model.get_submodule(entry.get("inside", ""))
    return sum(map(_shortcuts, part.modules())) if place == "residual" else ""


def _shortcuts(module):
    """How many residual adds one call of `module` makes, by the list of classes."""
    told = listed()["blocks"].get(f"{type(module).__module__}.{type(module).__qualname__}", 0)
    return sum(_one(module, item) for item in (told if isinstance(told, list) else [told]))


def _one(module, item):
    """A number as it is; the name of an attribute once where it says that there is a shortcut."""
    if isinstance(item, int):
        return item
    if item.startswith("not "):
        return 1 - _one(module, item[4:])
    there = getattr(module, item, None)
    return int(there is not None and there is not False)


def number(told):
    """How many sites there are, by what the list says of a place."""
    return told if isinstance(told, int) else len(str(told).split())


def agrees(told, sites, model, example):
    """Whether the sites are what the list says: as many as its number, or at the maps that its modules make, one by one.

    Whoever owns a site, what counts is the map: the very tensor that the module returned (`a|b`: either of them;
    `a:input`: that it is given), or another layout of it.
    """
    if number(told) != len(sites):
        return False
    if isinstance(told, int):
        return True
    with observed(model, example) as observation:
        run = _Run(observation)
        return all(run.is_made_by(site, one.split("|")) for site, one in zip(sites, str(told).split()))


class _Run:
    """Which modules made the map at a site, in one run of the network."""

    def __init__(self, observation):
        self.observation = observation
        self.graphs = observation.scene.graphs
        self.makers = observation.scene.graph.inner_makers

    def is_made_by(self, site, paths):
        """Whether one of the modules at `paths` returned the map at the site, or was given it."""
        known = dict(self.observation.model.named_modules(remove_duplicate=False))
        there = [path for path in paths if path.split(":")[0] in known]
        assert there, f"the list has no module of this network at {' or '.join(paths)}"
        meant = (value for path in there for value in self._maps(*path.split(":")))
        return self._unmoved(self._value(site)) in map(self._unmoved, meant)

    def _maps(self, path, edge="output"):
        """What a module returned, or was given, each time that it ran."""
        module = self.observation.model.get_submodule(path)
        runs = [graph for graph in self.graphs if graph.module is module]
        return [value for graph in runs for value in (graph.inputs if edge == "input" else graph.outputs)]

    def _value(self, site):
        graph = next(graph for graph in self.graphs if graph.path == site.module)
        is_inside = site.after.split(".")[0] not in ("input", "output")
        names = self.observation.rewrites_of(site.module).names if is_inside else {}
        return sizes.named(site.after, graph, names)

    def _unmoved(self, value):
        """The value before its axes were laid in another order or counted in another way."""
        while (maker := self.makers.get(value)) is not None and maker.op in MOVES | VIEWS | {"contiguous"}:
            value = maker.inputs[0]
        return value
