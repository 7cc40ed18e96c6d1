"""From what was observed of a model to a plan: which sites, whether the module fits, what it costs."""

import warnings
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

import torch

from surgeon import attention as modules
from surgeon import rulebook
from surgeon.anatomy.liveness import is_unused
from surgeon.anatomy.scene import class_names
from surgeon.attention.gate import INITS
from surgeon.errors import BadOption, BadPlan, NoSite, SurgeonError, UnusedSite, suggest
from surgeon.rulebook import match, missing, owner
from surgeon.sites import Plan


def check_options(attention, init, options):
    """Refuse, before any work, an attention that nobody knows and options that it does not take."""
    if init not in INITS:
        raise BadOption(f"init can't be {init!r}. {suggest(init, INITS)}")
    known = modules.options_of(attention)
    for name in options if known is not None else ():
        if name not in known:
            raise BadOption(f"{modules.name_of(attention)} has no option {name!r}. {suggest(name, known)}")


def plan(observation, attention, where, init, rules, options, *, costs=True):
    """The Plan for one observed model; without `costs`, which take as long as the rest, if nobody will read them."""
    scene = observation.scene
    found = _anchors(observation, where, rules)
    _refuse_second([anchor for _, anchor in found], scene)
    sites = tuple(_sites(found, scene, _are_grids(scene, rules), _Fitting(scene, attention, init, options, costs)))
    spec = modules.spec_of(attention)
    factory = None if isinstance(attention, str) else attention
    made = Plan(spec or modules.name_of(attention), sites, dict(options), init, fingerprint(observation.model), factory)
    if not any(site.read for site in sites):
        # To the line that called surgeon.inject or surgeon.plan.
        warnings.warn(made.notes[0], UnusedSite, stacklevel=3)
    return made


def fingerprint(model):
    """A short hash of the names of all weights and buffers, in order; attention of surgeon's not counted."""
    gates = tuple(f"{path}." for path, gate in modules.attention_modules(model).items() if gate.site is not None)
    names = [name for name in model.state_dict(keep_vars=True) if not name.startswith(gates or "\0")]
    return sha256("\n".join(names).encode()).hexdigest()[:16]


def _anchors(observation, where, rules):
    """(value, Anchor) of one place, or of several: each value once, in order of execution.

    The value is the one that the rule means; the anchor may lie a step before it, where nobody could own that.
    """
    found = {}
    for one in [where] if isinstance(where, (str, Path)) else where:
        for value, anchor in _anchors_of(observation, str(one), rules):
            found.setdefault(value, anchor)
    in_order = sorted(found.items(), key=lambda item: item[0].order)
    # A block that runs twice has two such values, and one forward to hold them.
    return match.first_of_each(in_order, lambda item: (item[1].module, item[1].after))


def _anchors_of(observation, where, rules):
    scene, rewrites = observation.scene, observation.rewrites
    if ("." in where or "*" in where) and not where.endswith((".yaml", ".yml")):
        return [(anchor.value, anchor) for anchor in _after_modules(observation, where)]
    general, special = rulebook.for_place(where, rules)
    found = match.candidates(general, special, scene)
    if not found:
        raise NoSite(_no_site((general or special[0]).place, observation, rules))
    return [(_spliced(candidate, rule), owner.anchor(candidate, rule, scene, rewrites)) for candidate, rule in found]


def _spliced(candidate, rule):
    """The value after which the rule splices: an operand by its name, or the candidate itself."""
    return candidate.names.get(rule.splice.removeprefix("after "), candidate.value)


def _are_grids(scene, rules):
    """Whether tokens lie row by row, as they do unless a rule says that this network shuffles them."""
    shuffled = {name for rule in rules if rule.pixels == "shuffled" for name in rule.classes}
    return shuffled.isdisjoint(class_names(scene.graph.module))


def _sites(found, scene, is_grid, fitting):
    for value, anchor in found:
        cost = fitting.cost_at(anchor, anchor.size(is_grid=is_grid))
        yield anchor.site(is_grid=is_grid, read=not is_unused(value, scene), cost=cost)


def _after_modules(observation, pattern):
    """The values that the modules whose path matches `pattern` return."""
    graphs = [graph for graph in observation.scene.graphs if graph.parent and not isinstance(graph.module, modules.Gate) and fnmatchcase(graph.path, pattern)]
    if not graphs:
        paths = [graph.path for graph in observation.scene.graphs if graph.path]
        raise NoSite(f"{pattern!r} matches no module that runs. {suggest(pattern, paths[:40])}")
    return [owner.after_module(graph, observation.scene, observation.rewrites) for graph in graphs]


def _no_site(place, observation, rules):
    others = {name: count for name, count in counts(observation, rules).items() if count and name != place}
    there = ", ".join(f"{name} ({count})" for name, count in others.items()) or "none"
    why = missing.why(*rulebook.for_place(place, rules), observation.scene)
    kind = type(observation.scene.graph.module).__name__
    return f"{place!r} found no place in {kind}{why and f': {why}'}. Places that do exist here: {there}."


def counts(observation, rules):
    """{place: number of sites} for all places that the rules know."""
    return {place: len(match.candidates(*rulebook.for_place(place, rules), observation.scene)) for place in rulebook.places(rules)}


def _refuse_second(anchors, scene):
    """One site, one gate: a second at the same value would be a second opinion on the same question."""
    gates = modules.attention_modules(scene.graph.module)
    for anchor in anchors:
        for path, gate in gates.items():
            there = gate.site
            if there is None:
                continue
            same = (there.module, there.after) == (anchor.module, anchor.after)
            behind = anchor.module == path or f"{anchor.module}.{anchor.after}".strip(".") == path
            if same or behind:
                taken = f"{there}: already has attention ({path})."
                raise BadPlan(f"{taken} Take it out with surgeon.remove(model), or choose other sites.")


class _Fitting:
    """Tries the attention on fake maps, once for each size: whether it fits there, and what it costs."""

    def __init__(self, scene, attention, init, options, costs):
        self.attention, self.init, self.options, self.costs = attention, init, options, costs
        weights = scene.graph.module.parameters()
        self.dtype = next((weight.dtype for weight in weights if weight.is_floating_point()), torch.float32)
        self.known = {}

    def cost_at(self, anchor, size):
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

    def _try(self, channels, size):
        with torch.device("meta"):
            gate = modules.build(self.attention, channels, init=self.init, dims=len(size), **self.options)
        if isinstance(gate, modules.Foreign):
            modules.probe(gate, (2, channels, *size), self.dtype)
        return modules.cost(gate, (channels, *size)) if self.costs else (None, None)
