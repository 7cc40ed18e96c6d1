"""Who owns a site: the module that will hold the attention, so that nothing can pass it by.

A value inside a forward is owned by the module of that forward. A value that modules return is
owned by one of those, never by the model itself (its `forward_features`, a feature extractor or a
detector would pass the attention by) and never by a norm (conversions to SyncBatchNorm or frozen
norms replace these objects, and the attention would vanish without a word).
"""

from torch import nn
from torch.utils._pytree import tree_flatten

from surgeon.anatomy.trunk import entry
from surgeon.errors import BadPlan, NoSite, Untraceable
from surgeon.forward.arguments import where_given
from surgeon.forward.subclass import runs_any_child, takes_grafts
from surgeon.sites import Site
from surgeon.trace.axes import MOVES, VIEWS


def site(candidate, rule, scene, rewrites):
    """The Site of one candidate.

    Args:
        rewrites: callable Graph -> Rewritable, raising Untraceable.
    """
    if rule.splice == "before first use":
        return _input_site(candidate.value, rule.place, scene)
    name = rule.splice.removeprefix("after ")
    if name == "value":
        return _output_site(candidate, rule.place, scene)
    return _inner_site(candidate, candidate.names[name], rule.place, scene, rewrites)


def _site(scene, value, place, module, after):
    found = scene.maps.grouped(value)
    return Site(module, after, place, found.channels, tuple(found.size), found.layout, found.prefix)


def _inner_site(candidate, value, place, scene, rewrites):
    """Inside the forward of the graph that adds; where that can't be rewritten, the child that gives the value."""
    graph = candidate.graph
    maker = graph.makers.get(value)
    try:
        if maker is None:
            raise Untraceable(f"{graph.path}: the branch comes in from outside, nothing in its forward makes it.")
        return _site(scene, value, place, graph.path, rewrites(graph).name_of(value))
    except Untraceable as stop:
        site = _neighbour_site(candidate, value, place, scene)
        if site is None:
            raise stop
        return site


def _neighbour_site(candidate, value, place, scene):
    """The child that returns the value, or the one that is given it first (a drop-path), if it can own it."""
    graph = candidate.graph
    makers = [child for child in graph.children if _returns(child, value) and not child.hands_on(value)]
    takers = [child for child in graph.children if child.inputs[:1] == [value]]
    for child in makers[:1]:
        if _can_own(child, scene):
            return _site(scene, value, place, child.path, returned(child, value))
    uses = {node for node in value.users if node.graph is graph} - {candidate.node}
    if takers and uses == {takers[0].caller} and _can_own(takers[0], scene):
        return _site(scene, value, place, takers[0].path, where_given(takers[0], value))
    return None


def _output_site(candidate, place, scene):
    """The module that returns the value: a whole stage in a network of stages, else the block itself.

    A module that holds several ends of stages (`features`, `stages`) is often iterated by its parent,
    and one child more would be taken for another stage; so the owner holds just one.
    """
    value, graph = candidate.value, candidate.graph
    while True:
        givers = [g for g in scene.graphs if _gives(g, value, scene) and _can_own(g, scene)]
        if givers:
            break
        value, graph = _before(value, graph, scene)
    owner = givers[0] if len(_ends(scene) | {value}) > 1 else givers[-1]
    return _site(scene, value, place, owner.path, returned(owner, value))


def _ends(scene):
    """The last values of all sizes but the smallest."""
    return {step.value for step in scene.steps if step.kind == "smaller" and step.value is not scene.maps.image}


def _gives(graph, value, scene):
    """True if the module makes `value` and returns it, and no end of a stage before it."""
    made = sum(v is value for v in graph.outputs) == 1 and not graph.hands_on(value) and not _reads(graph, value)
    return made and not _is_list_of_tokens(graph, value, scene) and _ends(scene) & _made_in(graph) <= {value} and not _only_moves(graph)


def _reads(graph, value):
    """True if something inside the module works on the value: attention on what it returns would come too late."""
    return any(value in node.inputs and value not in node.outputs for inner in graph.walk() for node in inner.nodes)


def _returns(graph, value):
    return any(v is value for v in graph.outputs)


def _is_list_of_tokens(graph, value, scene):
    """A plain list of transformer blocks, which networks often run themselves, one by one with more arguments."""
    return scene.maps[value].layout == "NLC" and type(graph.module).forward is nn.Sequential.forward


def _only_moves(graph):
    """True for a module that just lays the axes of a map in another order."""
    return all(node.op in MOVES | VIEWS for node in graph.nodes)


def _made_in(graph):
    return {value for inner in graph.walk() for value in inner.makers}


def _can_own(graph, scene):
    calls = sum(other.module is graph.module for other in scene.graphs)
    return graph.parent is not None and graph.finished and calls == 1 and not is_norm(graph.module) and takes_grafts(graph.module) and not runs_any_child(graph.module)


def is_norm(module):
    """A module that only normalises: it has a norm's name or class and no weight with two axes."""
    kinds = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    named = isinstance(module, kinds) or "norm" in type(module).__name__.lower()
    return named and all(weight.dim() < 2 for weight in module.parameters())


def _before(value, graph, scene):
    """One step back from a value that nobody can own: what its norm, activation or reshape was given."""
    while value not in graph.makers and graph.parent is not None:
        graph = graph.parent
    node = graph.makers.get(value)
    while node and node.child and value in node.child.makers and not is_norm(node.child.module):
        graph, node = node.child, node.child.makers[value]
    earlier = node and entry(node, scene.maps)
    here = scene.maps[value]
    # Where two maps are joined, neither of them is the value that was asked for.
    joins = node and node.child is None and sum(scene.maps[v] is not None for v in node.inputs) > 1
    if not earlier or joins or scene.maps[earlier].size != here.size or scene.maps[earlier].channels != here.channels:
        raise NoSite(f"the map of {here.channels} channels that {graph.path or 'the model'} ends with belongs to no module of its own.")
    return earlier, graph


def returned(graph, value):
    """How a module returns `value`: `output`, or `output.1` for the second of several."""
    leaves, _ = tree_flatten(graph.result)
    if len(leaves) == 1 and not isinstance(graph.result, (tuple, list, dict)):
        return "output"
    tensors = [index for index, leaf in enumerate(leaves) if hasattr(leaf, "shape")]
    position = next(i for i, v in enumerate(graph.outputs) if v is value)
    return f"output.{tensors[position]}"


def _input_site(value, place, scene):
    """The innermost module that takes the image alone; the model itself where several things do."""
    graph, users = scene.graph, _users(scene.graph, value)
    owner = graph
    while len(users) == 1 and users[0].child is not None and users[0].child.inputs[:1] == [value]:
        graph = users[0].child
        users = _users(graph, value)
        if _can_own(graph, scene):
            owner = graph
    return _site(scene, value, place, owner.path, where_given(owner, value))


def _users(graph, value):
    users = [node for node in graph.nodes if value in node.inputs]
    return [node for node in users if not (node.child and node.child.hands_on(value))] or users


def after_module(graph, scene, rewrites):
    """(value, Site) after one given module: it owns what it returns, unless it is a norm; then its caller does.

    Raises:
        BadPlan: what it returns is no feature map, or nobody but the model itself could own it.
    """
    value = next((v for v in graph.outputs if scene.maps.grouped(v) is not None), None)
    if value is None:
        raise BadPlan(f"{graph.path}: returns no feature map, so attention has nothing to weigh.")
    if _can_own(graph, scene) and not graph.hands_on(value):
        return value, _site(scene, value, "after", graph.path, returned(graph, value))
    if graph.parent.path == "" or not is_norm(graph.module):
        raise BadPlan(f"{graph.path}: can't own attention (a norm of the model itself, called more than once, or no plain class). Choose what comes after it.")
    return value, _site(scene, value, "after", graph.parent.path, rewrites(graph.parent).name_of(value))
