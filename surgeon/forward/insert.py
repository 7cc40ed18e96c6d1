"""Calls of new children, inserted into a forward that was traced: its text, and what it stands on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import fx

from surgeon.errors import BadPlan, Untraceable, suggest
from surgeon.forward.grafts import Forward, Inside
from surgeon.forward.kept import Kept
from surgeon.forward.otherwise import Behind, Ground

if TYPE_CHECKING:
    from surgeon.forward.reading import Readings
    from surgeon.forward.rewrite import Rewritable

    # The functions that a rewritten forward calls, by the name that it calls them by.
    Functions = tuple[tuple[str, Callable[..., Any]], ...]

# How torch.fx calls a value; in the text that is written `gate(x)`.
CALL = "__call__"


class New(NamedTuple):
    """A child that a module gets, and where its forward reads the size of the map, if it is tokens that it weighs."""

    child: str
    size: Readings | None


def inserted(path: str, forward: Rewritable | Kept, inner: Mapping[str, New]) -> Forward | Inside:
    """The graft that calls each child of `inner`, by the name of a node, right after that node."""
    return _around(path, forward, inner) if isinstance(forward, Kept) else _rewritten(path, forward, inner)


def _around(path: str, forward: Kept, inner: Mapping[str, New]) -> Inside:
    """The graft that runs the forward as it is, each child of `inner` behind the child whose output it weighs."""
    unknown = next((after for after in inner if after not in forward.children), None)
    if unknown is not None:
        raise BadPlan(f"{path}: no child in its forward is called {unknown!r}. {suggest(unknown, forward.children)}")
    gates = ((*forward.children[after], new) for after, new in inner.items())
    return Inside(Ground(gates=tuple(Behind(new.child, child, item, size=new.size) for child, item, new in gates)))


def _rewritten(path: str, forward: Rewritable, inner: Mapping[str, New]) -> Forward:
    evaluate, functions = _source(path, forward.evaluate, forward.evaluate, inner)
    nodes = [_counterpart(path, after, forward.evaluate, forward.evaluate) for after in inner]
    gates = tuple(_behind(node, child) for node, child in zip(nodes, inner.values()))
    ground = Ground(forward.guards, forward.facts, gates)
    if forward.train is forward.evaluate:
        return Forward(evaluate, evaluate, functions, ground)
    train, more = _source(path, forward.train, forward.evaluate, inner)
    return Forward(evaluate, train, tuple(dict(functions + more).items()), ground)


def _behind(node: fx.Node, new: New) -> Behind:
    """Where in the original forward a gate stands that stands behind `node` in its graph."""
    gate = new.child
    if new.size is not None and any(reading.is_node for reading in new.size):
        # What the size is read from is nothing that the original forward would show.
        return Behind(gate)
    if node.op == "call_module":
        return Behind(gate, str(node.target), before=_fed(node), size=new.size)
    if node.target is operator.getitem:
        source, item = node.args
        if isinstance(source, fx.Node) and source.op == "call_module" and type(item) is int:
            return Behind(gate, str(source.target), item, _fed(node), new.size)
    return Behind(gate)


def _fed(node: fx.Node) -> tuple[str, ...]:
    """The children that are called with what `node` gives, as it is or after other steps."""
    reached = [node]
    for other in reached:
        reached += [user for user in other.users if user not in reached]
    return tuple(str(other.target) for other in reached[1:] if other.op == "call_module")


def _source(path: str, graph: fx.Graph, named: fx.Graph, inner: Mapping[str, New]) -> tuple[str, Functions]:
    """Source text of `graph` with the calls put in, and the functions it names.

    The names are those of the graph `named`; in another mode's graph, nodes are found by counting.
    """
    copy = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    copy.output(copy.graph_copy(graph, copies))

    def copied(name: str) -> fx.Node:
        return copies[_counterpart(path, name, named, graph)]

    for after, new in inner.items():
        _insert_call(copy, copied(after), new, copied)
    code = copy.python_code("self")
    callables = ((name, value) for name, value in code.globals.items() if callable(value))
    functions = tuple((name, value) for name, value in callables if f"{name}(" in code.src and "." not in name)
    return code.src.replace(f".{CALL}(", "("), functions


def _insert_call(graph: fx.Graph, node: fx.Node, new: New, tensor: Callable[[str], fx.Node]) -> None:
    """Call the new child on what `node` gives; all that took that takes the call's result instead.

    The child is looked up first of all: a call that is under way has it, though it may be taken out meanwhile.
    """
    start = next(node for node in graph.nodes if node.op != "placeholder")
    with graph.inserting_before(start):
        child = graph.get_attr(new.child)
    with graph.inserting_after(node):
        call = graph.create_node("call_method", CALL, (child, node), name="attended")
    if new.size is not None:
        with graph.inserting_before(call):
            call.kwargs = {"size": tuple(reading.node(graph, tensor) for reading in new.size)}
    node.replace_all_uses_with(call, delete_user_cb=lambda user: user is not call)


def _counterpart(path: str, name: str, named: fx.Graph, graph: fx.Graph) -> fx.Node:
    """The node of `graph` that is called `name` in the graph `named`."""
    nodes = {node.name: node for node in named.nodes}
    if name not in nodes:
        raise BadPlan(f"{path}: nothing in its forward is called {name!r}. {suggest(name, nodes)}")
    if named is graph:
        return nodes[name]
    here, there = _alike(nodes[name], named), _alike(nodes[name], graph)
    if len(here) != len(there):
        raise Untraceable(f"{path}: train and eval graphs differ at {name!r}; rewriting would freeze one of them.")
    return there[here.index(nodes[name])]


def _alike(node: fx.Node, graph: fx.Graph) -> list[fx.Node]:
    """The nodes of `graph` that call the same as `node` does."""
    return [other for other in graph.nodes if (other.op, other.target) == (node.op, node.target)]
