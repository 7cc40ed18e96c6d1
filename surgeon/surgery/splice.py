"""The only file that changes a model: puts gates in and takes them out, all or nothing."""

import itertools
import operator
from dataclasses import dataclass

from torch import fx, nn

from surgeon.attention import Gate
from surgeon.errors import BadModel, BadPlan, CheckFailed, Untraceable, suggest
from surgeon.forward.otherwise import Behind
from surgeon.forward.subclass import (
    NO_GRAFTS,
    Forward,
    Input,
    Output,
    grafted,
    grafts_of,
    runs_any_child,
    takes_grafts,
)


@dataclass(frozen=True)
class Stitch:
    """What will be done to one module: the child it gets for each site, and its new class (a Sequential's old one)."""

    module: nn.Module
    children: dict
    cls: type


def stitches(model, sites, name, rewrites):
    """All the changes, prepared; the model is still as it was.

    Args:
        name: what the new children are called, where that is free.
        rewrites: callable path -> Rewritable.

    Raises:
        BadPlan: a site names a module or a node that the model does not have.
    """
    by_module = {}
    for site in sites:
        by_module.setdefault(site.module, []).append(site)
    return [_stitch(_module(model, path), path, those, name, rewrites) for path, those in by_module.items()]


def _module(model, path):
    try:
        return model.get_submodule(path)
    except AttributeError:
        paths = [name for name, _ in model.named_modules()]
        near = suggest(path, paths).split(" Known:")[0]
        raise BadPlan(f"this model has no module {path!r}. {near if near.startswith('Did') else ''}".strip()) from None


def _stitch(module, path, sites, name, rewrites):
    if not takes_grafts(module):
        raise Untraceable(f"{path or 'the model'}: {NO_GRAFTS}.")
    children = dict(zip(sites, _names(module, name, len(sites))))
    base, *grafts = grafts_of(module)
    inner = {site.after: child for site, child in children.items() if not _at_edge(site)}
    if inner:
        grafts.append(_forward(path, rewrites(path), inner))
    if len(inner) < len(sites) and runs_any_child(module):
        raise Untraceable(f"{path or 'the model'}: its forward runs all its children, and would run attention as one of them.")
    for site, child in children.items():
        if _at_edge(site) and not _is_appended(module, site, grafts):
            grafts.append(_edge(site, child))
    return Stitch(module, children, grafted(base, *grafts))


def _at_edge(site):
    return site.after.split(".")[0] in ("input", "output")


def _is_appended(module, site, grafts):
    """An nn.Sequential needs no new forward: a child at its end is run after the others."""
    plain = type(module).forward is nn.Sequential.forward and not isinstance(module, Gate)
    return plain and not grafts and site.after == "output"


def _edge(site, name):
    edge, _, index = site.after.partition(".")
    if edge == "input":
        return Input(name, site.after)
    return Output(name, int(index) if index else None)


def _names(module, name, count):
    """Names for `count` new children: `cbam`, and `cbam_1` and so on where that is taken."""
    candidates = (name if number == 0 else f"{name}_{number}" for number in itertools.count())
    return list(itertools.islice((free for free in candidates if not hasattr(module, free)), count))


def _forward(path, forward, inner):
    """The graft that calls each child of `inner`, {node name: child}, right after its node."""
    evaluate, functions = _source(path, forward.evaluate, forward.evaluate, inner)
    gates = tuple(_behind(_counterpart(path, after, forward.evaluate, forward.evaluate), child) for after, child in inner.items())
    if forward.train is forward.evaluate:
        return Forward(evaluate, evaluate, functions, forward.guards, gates)
    train, more = _source(path, forward.train, forward.evaluate, inner)
    return Forward(evaluate, train, tuple(dict(functions + more).items()), forward.guards, gates)


def _behind(node, gate):
    """Where in the original forward a gate stands that stands behind `node` in its graph."""
    if node.op == "call_module":
        return Behind(gate, node.target)
    if node.target is operator.getitem and node.args[0].op == "call_module" and type(node.args[1]) is int:
        return Behind(gate, node.args[0].target, node.args[1])
    return Behind(gate)


def _source(path, graph, named, inner):
    """Source text of `graph` with the calls put in, and the functions it names.

    The names are those of the graph `named`; in another mode's graph, nodes are found by counting.
    """
    copy = fx.Graph()
    made = {}
    copy.output(copy.graph_copy(graph, made))
    for after, child in inner.items():
        node = made[_counterpart(path, after, named, graph)]
        with copy.inserting_after(node):
            call = copy.call_module(child, (node,))
        node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)
    code = copy.python_code("self")
    functions = {name: value for name, value in code.globals.items() if callable(value) and f"{name}(" in code.src and "." not in name}
    return code.src, tuple(functions.items())


def _counterpart(path, name, named, graph):
    """The node of `graph` that is called `name` in the graph `named`."""
    nodes = {node.name: node for node in named.nodes}
    if name not in nodes:
        raise BadPlan(f"{path}: nothing in its forward is called {name!r}. {suggest(name, nodes)}")
    if named is graph:
        return nodes[name]
    alike = lambda g: [node for node in g.nodes if (node.op, node.target) == (nodes[name].op, nodes[name].target)]
    here, there = alike(named), alike(graph)
    if len(here) != len(there):
        raise Untraceable(f"{path}: train and eval graphs differ at {name!r}; rewriting would freeze one of them.")
    return there[here.index(nodes[name])]


def put_in(prepared, gates):
    """Make all the prepared changes; if one fails, those before it are taken back.

    Args:
        gates: {Site: Gate}.
    """
    undo = []
    try:
        for stitch in prepared:
            module, new = stitch.module, {name: gates[site] for site, name in stitch.children.items()}
            undo.append((module, type(module), module._modules, new))
            vars(module).update(new)
            module.__class__ = stitch.cls
            _show(module, {**module._modules, **new}, new)
    except BaseException:
        take_back(undo)
        raise
    return undo


# A network may be answering in another thread while it is changed. Its forward finds a gate as a plain attribute
# from before its class calls for it until it is a child, and whoever goes through the children has the old ones
# or the new ones in hand, since the table of them is replaced as one.


def _show(module, children, gates):
    """Make `children` those of `module`, where its gates are needed as attributes no more."""
    vars(module)["_modules"] = children
    for name in gates:
        vars(module).pop(name, None)


def take_back(undo):
    """Undo what `put_in` did, the last change first."""
    for module, cls, children, gates in reversed(undo):
        vars(module).update(gates, _modules=children)
        module.__class__ = cls
        _show(module, children, gates)


def remove(model):
    """Take all that surgeon has put into `model` out again, class by class and key by key.

    Returns:
        the number of gates that were taken out.

    Raises:
        BadModel: someone else has put a subclass upon surgeon's (a parametrization, a sharded module).
    """
    modules = dict(model.named_modules())
    for path, module in modules.items():
        base, *_ = grafts_of(module)
        if hasattr(base, "grafted_from"):
            raise BadModel(f"{path or 'the model'}: its class was changed after surgeon's operation (to {base.__name__}); undo that first.")
    stitched = [(module, grafts_of(module)[0], *_apart(module)) for module in modules.values()]
    take_back([(module, base, others, gates) for module, base, others, gates in stitched if gates or type(module) is not base])
    return sum(len(gates) for *_, gates in stitched)


def _apart(module):
    """The children of a module, and the gates among them that surgeon put there."""
    gates = {name: child for name, child in module._modules.items() if isinstance(child, Gate) and child.site is not None}
    return {name: child for name, child in module._modules.items() if name not in gates}, gates


def count_stitches(model, gates):
    """Every gate is in the model, once, where its site says.

    Raises:
        CheckFailed: with the first that is not.
    """
    for site, gate in gates.items():
        children = list(model.get_submodule(site.module)._modules.values())
        if sum(child is gate for child in children) != 1:
            raise CheckFailed(f"{site}: the attention is there {sum(child is gate for child in children)} times, not once.")
