"""A module's forward as a torch.fx graph that may be edited, compared with what the module really did.

Only modules whose forward must change are traced, each alone, with its children as leaves. A
symbolic trace can go wrong in silence (it takes the wrong branch of `if mask is not None`, it
freezes `self.training`), so none is believed: the graph is run on the observed arguments, and its
steps must be the steps on record, one by one.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from surgeon.errors import Untraceable
from surgeon.forward.alike import names_of, title
from surgeon.forward.grafts import ground_of
from surgeon.forward.guards import Guard
from surgeon.forward.reads import Fact
from surgeon.forward.subclass import grafts_of
from surgeon.forward.symbolic import first_line, traced
from surgeon.trace.graph import Graph, Value
from surgeon.trace.recorder import Recorder, observe
from surgeon.trace.skeleton import listening
from surgeon.trace.state import in_mode


@dataclass(frozen=True)
class Rewritable:
    """The forward of one module in both modes; `evaluate is train` where they are the same.

    names: for each value on record, in eval mode, the name of the fx node that gives it as a tensor of its own.
    guards: what both ask of each call. facts: what one of them takes for granted of the module.
    """

    evaluate: fx.Graph
    train: fx.Graph
    names: dict[Value, str]
    guards: tuple[Guard, ...] = ()
    facts: tuple[Fact, ...] = ()

    def name_of(self, value: Value) -> str:
        """The fx node that gives a recorded value.

        Raises:
            Untraceable: no node, or several.
        """
        if value not in self.names:
            reason = "a map that is one of several results can't be told from the others in the rewritten forward"
            raise Untraceable(f"{reason}.")
        return self.names[value]

    @property
    def text(self) -> tuple[str, str]:
        """Both graphs as source text."""
        return _code(self.evaluate), _code(self.train)

    def does_as(self, other: object) -> bool:
        """True if both are one and the same forward."""
        if not isinstance(other, Rewritable):
            return False
        return (self.text, self.guards, self.facts) == (other.text, other.guards, other.facts)

    def holds_for(self, module: nn.Module) -> bool:
        """True if all that was taken for granted is so in another module too."""
        return all(fact.holds(module) for fact in self.facts)


def rewritable(record: Graph) -> Rewritable:
    """The forward of `record`'s module as verified fx graphs.

    Args:
        record: the Graph of one call of it, on meta, in eval mode.

    Raises:
        Untraceable: with the line of the forward that stopped the trace, or the first step at
            which the trace and the record differ.
    """
    # As a `type[Module]` it would not be hashable to mypy.
    cls: type = type(record.module)
    trace = traced(record, training=False)
    evaluate, guards, facts = trace.graph, trace.guards, trace.facts
    names = _align(evaluate, record)
    if "training" not in names_of(cls):
        return Rewritable(evaluate, evaluate, names, guards, _relied_on(facts, record))
    other = traced(record, training=True)
    train, facts = other.graph, (*facts, *other.facts)
    if _code(train) == _code(evaluate):
        return Rewritable(evaluate, evaluate, names, guards, _relied_on(facts, record))
    with in_mode(record.module, True):
        train_record, error = observe(record.module, record.args, record.kwargs)
        if error is not None:
            raise Untraceable(f"{record.path}: does not run in train mode: {error}") from error
        _align(train, train_record)
    return Rewritable(evaluate, train, names, guards, _relied_on(facts, record))


def _relied_on(facts: Iterable[Fact], record: Graph) -> tuple[Fact, ...]:
    """`facts` as they are asked for: each once. A child that hands on what it is given need only be there."""
    idle = {
        call.path.removeprefix(f"{record.path}.") for call in record.children if set(call.outputs) <= set(call.inputs)
    }
    # What an earlier operation on this module took for granted still counts.
    facts = (*facts, *(fact for graft in grafts_of(record.module)[1:] for fact in ground_of(graft).facts))
    settled = {replace(fact, kind="child") if fact.where in idle and fact.kind == "acts" else fact for fact in facts}
    return tuple(sorted(settled, key=lambda fact: (fact.path, fact.name, fact.kind)))


def _code(graph: fx.Graph) -> str:
    return graph.python_code("self").src


class _Steps(fx.Interpreter):
    """Runs an fx graph under a recorder and notes which node made which step."""

    def __init__(self, graph: fx.Graph, module: nn.Module, recorder: Recorder) -> None:
        super().__init__(module, graph=graph, garbage_collect_values=False)
        self.recorder = recorder
        self.names: dict[Value, str] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        # What returns several tensors is no value yet; the `getitem` that takes one of them is.
        if isinstance(result, torch.Tensor):
            self.names.setdefault(self.recorder.value(result), n.name)
        return result


def _align(graph: fx.Graph, record: Graph) -> dict[Value, str]:
    """The fx node of each recorded value, found by running `graph` on the recorded arguments.

    Returns:
        {recorded Value: name of the fx node}

    Raises:
        Untraceable: the two do not do the same, with the first difference.
    """
    again, names = _run(graph, record)
    _refuse_difference(again, record)
    ambiguous = _taken_apart_twice(graph)
    aligned = {}
    for our_node, their_node in zip(again.nodes, record.nodes):
        for ours, theirs in zip(our_node.outputs, their_node.outputs):
            if ours in names and names[ours] not in ambiguous:
                aligned[theirs] = names[ours]
    return aligned


def _run(graph: fx.Graph, record: Graph) -> tuple[Graph, dict[Value, str]]:
    """What `graph` does with the recorded arguments, and the names of the fx nodes that gave its values."""
    recorder = Recorder({})
    steps = _Steps(graph, record.module, recorder)
    again = recorder.start(record.module, record.args, record.kwargs)
    with listening(record.module, recorder), torch.no_grad(), recorder:
        try:
            result = steps.run(*_flat(record))
        except Exception as error:  # the graph of any forward; the refusal names the module
            reason = first_line(error)
            raise Untraceable(f"{record.path}: the traced forward does not run: {reason}") from error
    recorder.finish(again, result)
    return again, steps.names


def _refuse_difference(again: Graph, record: Graph) -> None:
    """Refuse a run that is not, step by step, the recorded one."""
    ours, theirs = _comparable(again), _comparable(record)
    for number, (our, their) in enumerate(zip(ours, theirs)):
        if our != their:
            difference = f"at step {number}: {our.title} for {their.title}"
            raise Untraceable(f"{record.path}: the traced forward differs from the real one {difference}.")
    if len(ours) != len(theirs):
        counts = f"has {len(ours)} steps, the real one {len(theirs)}"
        raise Untraceable(f"{record.path}: the traced forward {counts}.")


def _taken_apart_twice(graph: fx.Graph) -> set[str]:
    """Names of nodes that take a thing out of a collection which another node takes out as well.

    Both give the same value, and one name is not enough.
    """
    takers: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.target is operator.getitem and type(node.args[1]) is int:
            takers.setdefault(str(node.args), []).append(node.name)
    return {name for names in takers.values() if len(names) > 1 for name in names}


def _flat(record: Graph) -> list[Any]:
    """The observed arguments in the order of the forward's parameters, defaults filled in."""
    signature = inspect.signature(type(record.module).forward)
    bound = signature.bind(record.module, *record.args, **record.kwargs)
    bound.apply_defaults()
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    values = [value for name, value in bound.arguments.items() if signature.parameters[name].kind not in free]
    return values[1:]  # without `self`


class _Step(NamedTuple):
    """A step as it is compared: values by their number and shape, a child by its identity."""

    title: str
    what: Any
    inputs: Any
    outputs: Any = None
    in_place: bool | None = None


def _comparable(graph: Graph) -> list[_Step]:
    """The steps of a graph as comparable data, values numbered in order of first appearance."""
    numbers: dict[Value, int] = {}

    def number(values: Iterable[Value]) -> list[tuple[int, tuple[int, ...]]]:
        return [(numbers.setdefault(value, len(numbers)), value.shape) for value in values]

    number(graph.inputs)
    steps = []
    for node in graph.nodes:
        what = id(node.child.module) if node.child else node.constants
        steps.append(_Step(title(node), what, number(node.inputs), number(node.outputs), node.in_place))
    return [*steps, _Step("its output", None, number(graph.outputs))]
