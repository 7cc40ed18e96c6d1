"""Who owns a site: the module that will hold the attention, so that nothing can pass it by.

A value inside a forward is owned by the module of that forward. A value that modules return is
owned by one of those, never by the model itself (its `forward_features`, a feature extractor or a
detector would pass the attention by) and never by a norm (conversions to SyncBatchNorm or frozen
norms replace these objects, and the attention would vanish without a word).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from surgeon.anatomy.calls import are_side_by_side, calls_of
from surgeon.anatomy.joins import JOINS
from surgeon.anatomy.trunk import entry
from surgeon.errors import BadPlan, NoSite, Untraceable
from surgeon.forward.arguments import where_given
from surgeon.forward.rewrite import Rewritable
from surgeon.forward.subclass import NO_GRAFTS, runs_any_child, takes_grafts
from surgeon.outside.torch import NormBase, tree_flatten
from surgeon.rulebook.anchor import Anchor
from surgeon.sites import INSTEAD
from surgeon.trace.axes import MOVES, VIEWS

if TYPE_CHECKING:
    from surgeon.anatomy.maps import FeatureMap
    from surgeon.anatomy.scene import Scene
    from surgeon.forward.kept import Kept
    from surgeon.rulebook.grammar import Rule
    from surgeon.rulebook.words import Candidate
    from surgeon.trace.graph import Graph, Node, Value

    Rewrites = Callable[[Graph], Rewritable | Kept]


def anchor(candidate: Candidate, rule: Rule, scene: Scene, rewrites: Rewrites) -> Anchor:
    """The Anchor of one candidate.

    Args:
        rewrites: gives the forward of a graph: rewritten, or kept as it is.

    Raises:
        NoSite, Untraceable: attention can't go there.
    """
    if rule.splice == "before first use":
        return _at_input(candidate.value, rule.place, scene)
    name = rule.splice.removeprefix("after ")
    if name == "value":
        return _at_output(candidate, rule.place, scene, rewrites)
    return _inside(candidate, candidate.names[name], rule.place, scene, rewrites)


def _anchor(scene: Scene, value: Value, place: str, module: str, after: str) -> Anchor:
    found = scene.maps.grouped(value)
    if found is None:
        raise NoSite(f"{module or 'the model itself'}: after {after} there is {scene.maps.described(value)}.")
    return Anchor(value, found, place, module, after)


def _inside(candidate: Candidate, value: Value, place: str, scene: Scene, rewrites: Rewrites) -> Anchor:
    """Inside the forward of the graph that adds; where that can't be rewritten, the child that gives the value."""
    graph = candidate.graph
    forward = rewrites(graph)
    if value in graph.makers and value in forward.names and isinstance(forward, Rewritable):
        return _anchor(scene, value, place, graph.path, forward.names[value])
    beside = _at_neighbour(candidate, value, place, scene)
    if beside is not None:
        return beside
    if value not in graph.makers:
        raise Untraceable(f"{graph.path}: the branch comes in from outside, nothing in its forward makes it.")
    if not takes_grafts(graph.module):
        raise Untraceable(f"{graph.path or 'the model'}: {NO_GRAFTS}.")
    return _anchor(scene, value, place, graph.path, forward.name_of(value))


def _at_neighbour(candidate: Candidate, value: Value, place: str, scene: Scene) -> Anchor | None:
    """The child that returns the value, or the one that is given it first (a drop-path), if it can own it."""
    graph = candidate.graph
    makers = [child for child in graph.children if _returns(child, value) and not child.passes_through(value)]
    takers = [child for child in graph.children if child.inputs[:1] == [value]]
    for child in makers[:1]:
        if _can_own(child, scene):
            return _anchor(scene, value, place, child.path, returned(child, value))
    uses = {node for node in value.users if node.graph is graph} - {candidate.node}
    if takers and uses == {takers[0].caller} and _can_own(takers[0], scene):
        return _anchor(scene, value, place, takers[0].path, where_given(takers[0], value))
    return None


def _at_output(candidate: Candidate, place: str, scene: Scene, rewrites: Rewrites) -> Anchor:
    """The module that returns the value: a whole stage in a network of stages, else the block itself.

    A module that holds several ends of stages (`features`, `stages`) is often iterated by its parent,
    and one child more would be taken for another stage; so the owner holds just one.
    """
    try:
        value, givers = _givers(candidate, scene)
    except NoSite:
        beside = _at_taker(candidate.value, place, scene) or _at_join(candidate.value, place, scene, rewrites)
        if beside is None:
            raise
        return beside
    owner = givers[0] if len(_ends(scene) | {value}) > 1 else givers[-1]
    return _anchor(scene, value, place, owner.path, returned(owner, value))


def _givers(candidate: Candidate, scene: Scene) -> tuple[Value, list[Graph]]:
    """The modules that return the value of the candidate, outermost first; or the value before it that has any.

    Raises:
        NoSite: there is none.
    """
    value, graph = candidate.value, candidate.graph
    while not (givers := [g for g in scene.graphs if _gives(g, value, scene) and _can_own(g, scene)]):
        value, graph = _before(value, graph, scene)
    return value, givers


def _at_taker(value: Value, place: str, scene: Scene) -> Anchor | None:
    """The layer that is given the value and nothing else, if nobody else is."""
    users = [node for node in value.users if not node.holds_steps]
    if len(users) != 1 or users[0].graph.inputs != [value] or not _can_own(users[0].graph, scene):
        return None
    return _anchor(scene, value, place, users[0].graph.path, where_given(users[0].graph, value))


def _at_join(value: Value, place: str, scene: Scene, rewrites: Rewrites) -> Anchor | None:
    """The module that joins the maps that it is given into the value, if its forward can be rewritten."""
    graph = next((graph for graph in scene.graphs if value in graph.makers and graph.parent is not None), None)
    if graph is None or graph.makers[value].op not in JOINS or not _can_own(graph, scene):
        return None
    forward = rewrites(graph)
    named = isinstance(forward, Rewritable) and value in forward.names
    return _anchor(scene, value, place, graph.path, forward.name_of(value)) if named else None


def _ends(scene: Scene) -> set[Value]:
    """The last values of all sizes but the smallest."""
    return {step.value for step in scene.steps if step.kind == "smaller" and step.value is not scene.maps.image}


def _gives(graph: Graph, value: Value, scene: Scene) -> bool:
    """True if the module makes `value` and returns it, and makes no end of a stage before it."""
    if sum(v is value for v in graph.outputs) != 1 or graph.passes_through(value) or _reads(graph, value):
        return False
    if _is_list_of_tokens(graph, value, scene) or _only_moves(graph):
        return False
    return _ends(scene) & _made_in(graph) <= {value}


def _reads(graph: Graph, value: Value) -> bool:
    """True if something inside the module works on the value: attention on what it returns would come too late."""
    return any(value in node.inputs and value not in node.outputs for inner in graph.walk() for node in inner.nodes)


def _returns(graph: Graph, value: Value) -> bool:
    return any(v is value for v in graph.outputs)


def _is_list_of_tokens(graph: Graph, value: Value, scene: Scene) -> bool:
    """A plain list of transformer blocks, which networks often run themselves, one by one with more arguments."""
    return scene.maps.known(value).layout == "NLC" and type(graph.module).forward is nn.Sequential.forward


def _only_moves(graph: Graph) -> bool:
    """True for a module that just lays the axes of a map in another order."""
    return all(node.op in MOVES | VIEWS for node in graph.nodes)


def _made_in(graph: Graph) -> set[Value]:
    return {value for inner in graph.walk() for value in inner.makers}


def _can_own(graph: Graph, scene: Scene) -> bool:
    return not _why_not(graph, scene)


def _why_not(graph: Graph, scene: Scene) -> str:
    """Why the module of `graph` can't own attention, in a phrase; empty if it can."""
    module = graph.module
    if graph.parent is None or not graph.finished:
        return "the model itself"
    calls = calls_of(graph, scene.graphs)
    if len(calls) > 1 and not are_side_by_side(calls, scene.graphs):
        return f"called {len(calls)} times, and not each time on an image of its own"
    if is_norm(module):
        return "a norm"
    return "" if takes_grafts(module) and not runs_any_child(module) else "no plain class, or runs any child it has"


def is_norm(module: nn.Module) -> bool:
    """A module that only normalises: it has a norm's name or class and no weight with two axes."""
    kinds = (NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    named = isinstance(module, kinds) or "norm" in type(module).__name__.lower()
    return named and all(weight.dim() < 2 for weight in module.parameters())


def _before(value: Value, graph: Graph, scene: Scene) -> tuple[Value, Graph]:
    """One step back from a value that nobody can own: what its norm, activation or reshape was given."""
    while value not in graph.makers and graph.parent is not None:
        graph = graph.parent
    node = graph.makers.get(value)
    while node and node.child and value in node.child.makers and not is_norm(node.child.module):
        graph, node = node.child, node.child.makers[value]
    earlier = entry(node, scene.maps) if node else None
    # Where two maps are joined, neither of them is the value that the rule means.
    joins = node and node.child is None and sum(scene.maps[v] is not None for v in node.inputs) > 1
    # And what a layer is given is another map.
    learns = node and node.cost.kernels > 0
    if earlier is None or joins or learns or not _are_alike(scene.maps.known(earlier), scene.maps.known(value)):
        made = f"the map of {scene.maps.known(value).channels} channels that {graph.path or 'the model'} makes"
        raise NoSite(f"{made} belongs to no module of its own{_said_of_givers(value, scene)}.")
    return earlier, graph


def _said_of_givers(value: Value, scene: Scene) -> str:
    """Why the module that gives `value` can't own attention, for the end of a message; empty if none gives it."""
    givers = (graph for graph in scene.graphs if graph.parent and graph.finished and _gives(graph, value, scene))
    return next((f" ({graph.path}: {_why_not(graph, scene)})" for graph in givers), "")


def _are_alike(one: FeatureMap, other: FeatureMap) -> bool:
    return one.size == other.size and one.channels == other.channels


def returned(graph: Graph, value: Value) -> str:
    """How a module returns `value`: `output`, or `output.1` for the second of several."""
    leaves, _ = tree_flatten(graph.result)
    if len(leaves) == 1 and not isinstance(graph.result, (tuple, list, dict)):
        return "output"
    tensors = [index for index, leaf in enumerate(leaves) if hasattr(leaf, "shape")]
    position = next(i for i, v in enumerate(graph.outputs) if v is value)
    return f"output.{tensors[position]}"


def _at_input(value: Value, place: str, scene: Scene) -> Anchor:
    """The innermost module that takes the image alone; the model itself where several things do."""
    users = [node for node in value.users if not node.holds_steps and value not in node.outputs]
    first, *others = ([*_around(node, scene)] for node in users) if users else [[]]
    shared = (graph for graph in first if all(graph in other for other in others))
    owners = (graph for graph in shared if graph.inputs[:1] == [value] and _can_own(graph, scene))
    owner = next(owners, scene.graph)
    return _anchor(scene, value, place, owner.path, where_given(owner, value))


def _around(node: Node, scene: Scene) -> Iterator[Graph]:
    """The forwards that a step is part of, inside out; that of the whole is not among them."""
    graph: Graph | None = node.graph
    while graph is not None and graph is not scene.graph:
        yield graph
        graph = graph.parent


def instead_of(graph: Graph, scene: Scene) -> Anchor:
    """The Anchor in place of one module, which is run once, on one map, and returns another of its shape.

    Raises:
        BadPlan: attention can't take its place.
    """
    value = graph.outputs[0] if isinstance(graph.result, torch.Tensor) else None
    given = graph.inputs[0] if graph.inputs else None
    if value is None or given is None or value.shape != given.shape or scene.maps.grouped(given) is None:
        raise BadPlan(
            f"{graph.path}: attention can't take its place: it does not make one map of another of the same shape."
        )
    if any(node.in_place and given in node.inputs for inner in graph.walk() for node in inner.nodes):
        raise BadPlan(f"{graph.path}: changes the map that it is given, which attention in its place needs.")
    reason = _why_not(graph, scene)
    if reason:
        raise BadPlan(f"{graph.path}: attention can't take its place ({reason}).")
    return _anchor(scene, value, "instead", graph.path, INSTEAD)


def after_module(graph: Graph, scene: Scene, rewrites: Rewrites) -> Anchor:
    """The Anchor after one module: it owns what it returns, unless it is a norm; then its caller does.

    Raises:
        BadPlan: what it returns is no feature map, or nobody but the model itself could own it.
    """
    value = next((v for v in graph.outputs if scene.maps.grouped(v) is not None), None)
    if value is None:
        raise BadPlan(f"{graph.path}: returns no feature map, so attention has nothing to weigh.")
    if _can_own(graph, scene) and not graph.passes_through(value):
        return _anchor(scene, value, "after", graph.path, returned(graph, value))
    caller = graph.parent
    if caller is None or caller.path == "" or not is_norm(graph.module):
        reason = _why_not(graph, scene) or "it returns what it was given"
        of_root = " of the model itself" if is_norm(graph.module) else ""
        raise BadPlan(f"{graph.path}: can't own attention ({reason}{of_root}). Choose what comes after it.")
    return _anchor(scene, value, "after", caller.path, rewrites(caller).name_of(value))
