"""From what was seen of a model to a plan: which sites, whether the module fits, what it costs."""

import warnings
from dataclasses import replace
from fnmatch import fnmatchcase
from hashlib import sha256
from math import prod
from pathlib import Path

import torch

from surgeon import attention as modules
from surgeon.anatomy.liveness import is_unread
from surgeon.anatomy.scene import class_names
from surgeon.attention.gate import INITS
from surgeon.errors import BadOption, BadPlan, NoSite, SurgeonError, Unread, suggest
from surgeon.rulebook import book as rulebook
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


def plan(seen, attention, where, init, rules, options, *, prices=True):
    """The Plan for one observed model; without `prices`, which take as long as the rest, if nobody will read them."""
    sites = _sites(seen, where, rules)
    _refuse_second(sites, seen.scene)
    sites = tuple(_priced(sites, seen.scene, attention, init, options, prices))
    spec = modules.spec_of(attention)
    factory = None if isinstance(attention, str) else attention
    made = Plan(spec or modules.name_of(attention), sites, dict(options), init, fingerprint(seen.model), factory)
    if not any(site.read for site in sites):
        # To the line that called surgeon.inject or surgeon.plan.
        warnings.warn(made.notes[0], Unread, stacklevel=3)
    return made


def fingerprint(model):
    """A short hash of the names of all weights and buffers, in order; attention of surgeon's not counted."""
    gates = tuple(f"{path}." for path, gate in modules.attention_modules(model).items() if gate.site is not None)
    names = [name for name in model.state_dict(keep_vars=True) if not name.startswith(gates or "\0")]
    return sha256("\n".join(names).encode()).hexdigest()[:16]


def _sites(seen, where, rules):
    """The sites of one place, or of several: each value once, in order of execution."""
    found = {}
    for one in [where] if isinstance(where, (str, Path)) else list(where):
        for value, site in _sites_of(seen, str(one), rules):
            found.setdefault(value, replace(site, read=not is_unread(value, seen.scene)))
    in_order = [found[value] for value in sorted(found, key=lambda value: value.order)]
    # A block that runs twice has two such values, and one forward to hold them.
    sites = list({(site.module, site.after): site for site in reversed(in_order)}.values())[::-1]
    shuffled = {name for rule in rules if rule.pixels == "shuffled" for name in rule.classes}
    in_rows = shuffled.isdisjoint(class_names(seen.scene.graph.module))
    return sites if in_rows else [_as_sequence(site) for site in sites]


def _as_sequence(site):
    """Tokens that do not lie in rows have no neighbours above and below: a sequence, not a grid."""
    return replace(site, size=(prod(site.size),)) if site.layout == "NLC" else site


def _sites_of(seen, where, rules):
    if ("." in where or "*" in where) and not where.endswith((".yaml", ".yml")):
        return _after_modules(seen, where)
    general, special = rulebook.for_place(where, rules)
    found = match.candidates(general, special, seen.scene)
    if not found:
        raise NoSite(_no_site((general or special[0]).place, seen, rules))
    spliced = lambda c, rule: c.names.get(rule.splice.removeprefix("after "), c.value)
    return [(spliced(c, rule), owner.site(c, rule, seen.scene, seen.rewrites)) for c, rule in found]


def _after_modules(seen, pattern):
    """The values that the modules whose path matches `pattern` return."""
    graphs = [graph for graph in seen.scene.graphs if graph.parent and not isinstance(graph.module, modules.Gate) and fnmatchcase(graph.path, pattern)]
    if not graphs:
        paths = [graph.path for graph in seen.scene.graphs if graph.path]
        raise NoSite(f"{pattern!r} matches no module that runs. {suggest(pattern, paths[:40])}")
    return [owner.after_module(graph, seen.scene, seen.rewrites) for graph in graphs]


def _no_site(place, seen, rules):
    others = {name: count for name, count in counts(seen, rules).items() if count and name != place}
    there = ", ".join(f"{name} ({count})" for name, count in others.items()) or "none"
    why = missing.why(*rulebook.for_place(place, rules), seen.scene)
    kind = type(seen.scene.graph.module).__name__
    return f"{place!r} found no place in {kind}{why and f': {why}'}. Places that do exist here: {there}."


def counts(seen, rules):
    """{place: number of sites} for all places that the rules know."""
    return {place: len(match.candidates(*rulebook.for_place(place, rules), seen.scene)) for place in rulebook.places(rules)}


def _refuse_second(sites, scene):
    """One site, one gate: a second at the same value would be a second opinion on the same question."""
    gates = modules.attention_modules(scene.graph.module)
    for site in sites:
        for path, gate in gates.items():
            there = gate.site
            if there is None:
                continue
            same = (there.module, there.after) == (site.module, site.after)
            behind = site.module == path or f"{site.module}.{site.after}".strip(".") == path
            if same or behind:
                raise BadPlan(f"{there}: already has attention ({path}). Take it out with surgeon.remove(model), or choose other sites.")


def _priced(sites, scene, attention, init, options, prices):
    """The sites with what attention costs at each; finds out on fake tensors that the module fits there."""
    known = {}
    dtype = next((w.dtype for w in scene.graph.module.parameters() if w.is_floating_point()), torch.float32)
    for site in sites:
        key = (site.channels, site.size)
        if key not in known:
            known[key] = _price(site, attention, init, options, dtype, prices)
        yield replace(site, parameters=known[key][0], macs=known[key][1])


def _price(site, attention, init, options, dtype, prices):
    try:
        with torch.device("meta"):
            gate = modules.build(attention, site.channels, init=init, dims=len(site.size), **options)
        if isinstance(gate, modules.Foreign):
            modules.probe(gate, (2, site.channels, *site.size), dtype)
        return modules.cost(gate, (site.channels, *site.size)) if prices else (0, 0)
    except SurgeonError as error:
        raise type(error)(f"{site}: {error}") from None
