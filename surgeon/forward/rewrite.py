"""A module's forward as a torch.fx graph that may be edited, held against what the module really did.

Only modules whose forward must change are traced, each alone, with its children as leaves. A
symbolic trace can go wrong in silence (it takes the wrong branch of `if mask is not None`, it
freezes `self.training`), so none is believed: the graph is run on the observed arguments, and its
steps must be the steps on record, one by one.
"""

import inspect
import operator
from dataclasses import dataclass

import torch
from torch import fx

from surgeon.errors import Untraceable
from surgeon.forward.alike import names_of, title
from surgeon.forward.guards import Guard
from surgeon.forward.symbolic import first_line, traced
from surgeon.trace.recorder import Recorder, observe
from surgeon.trace.skeleton import listening
from surgeon.trace.state import in_mode


@dataclass(frozen=True)
class Rewritable:
    """The forward of one module in both modes; `evaluate is train` where they are the same.

    names: for each value on record, in eval mode, the name of the fx node that gives it as a tensor of its own.
    guards: what both ask of each call.
    """

    evaluate: fx.Graph
    train: fx.Graph
    names: dict
    guards: tuple[Guard, ...] = ()

    def name_of(self, value):
        """The fx node that gives a recorded value.

        Raises:
            Untraceable: no node, or several.
        """
        if value not in self.names:
            raise Untraceable("a map that is one of several results can't be told from the others in the rewritten forward.")
        return self.names[value]

    @property
    def text(self):
        """Both graphs as source text."""
        return _code(self.evaluate), _code(self.train)

    def does_as(self, other):
        """True if both are one and the same forward."""
        return (self.text, self.guards) == (other.text, other.guards)


def rewritable(record):
    """The forward of `record`'s module as verified fx graphs.

    Args:
        record: the Graph of one call of it, on meta, in eval mode.

    Raises:
        Untraceable: with the line of the forward that stopped the trace, or the first step at
            which the trace and the record differ.
    """
    module = record.module
    evaluate, guards = traced(record, training=False)
    names = _align(evaluate, record)
    if "training" not in names_of(type(module)):
        return Rewritable(evaluate, evaluate, names, guards)
    train, _ = traced(record, training=True)
    if _code(train) == _code(evaluate):
        return Rewritable(evaluate, evaluate, names, guards)
    with in_mode(module, True):
        lesson, error = observe(module, record.args, record.kwargs, paths={})
        if error is not None:
            raise Untraceable(f"{record.path}: does not run in train mode: {error}") from error
        _align(train, lesson)
    return Rewritable(evaluate, train, names, guards)


def _code(graph):
    return graph.python_code("self").src


class _Steps(fx.Interpreter):
    """Runs an fx graph under a recorder and notes which node made which step."""

    def __init__(self, graph, module, recorder):
        super().__init__(module, graph=graph, garbage_collect_values=False)
        self.recorder = recorder
        self.names = {}

    def run_node(self, node):
        result = super().run_node(node)
        # What returns several tensors is no value yet; the `getitem` that takes one of them is.
        if isinstance(result, torch.Tensor):
            self.names.setdefault(self.recorder.value(result), node.name)
        return result


def _align(graph, record):
    """The fx node of each recorded value, found by running `graph` on the recorded arguments.

    Returns:
        {recorded Value: name of the fx node}

    Raises:
        Untraceable: the two do not do the same, with the first difference.
    """
    recorder = Recorder({})
    steps = _Steps(graph, record.module, recorder)
    again = recorder.start(record.module, record.args, record.kwargs)
    with listening(record.module, recorder), torch.no_grad(), recorder:
        try:
            result = steps.run(*_flat(record))
        except Exception as stop:  # the graph of any forward; the refusal names the module
            raise Untraceable(f"{record.path}: the traced forward does not run: {first_line(stop)}") from stop
    recorder.finish(again, result)
    ours, theirs = _spelled(again), _spelled(record)
    for step, (our, their) in enumerate(zip(ours, theirs)):
        if our != their:
            raise Untraceable(f"{record.path}: the traced forward differs from the real one at step {step}: {our[0]} for {their[0]}.")
    if len(ours) != len(theirs):
        raise Untraceable(f"{record.path}: the traced forward has {len(ours)} steps, the real one {len(theirs)}.")
    twins = {their: our for a, b in zip(again.nodes, record.nodes) for our, their in zip(a.outputs, b.outputs)}
    apart = _taken_apart_twice(graph)
    return {their: steps.names[our] for their, our in twins.items() if our in steps.names and steps.names[our] not in apart}


def _taken_apart_twice(graph):
    """Names of nodes that take a thing out of a collection which another node takes out as well: one name is not enough."""
    items = [(str(node.args), node.name) for node in graph.nodes if node.target is operator.getitem and type(node.args[1]) is int]
    return {name for args, name in items if sum(args == other for other, _ in items) > 1}


def _flat(record):
    """The observed arguments in the order of the forward's parameters, defaults filled in."""
    signature = inspect.signature(type(record.module).forward)
    bound = signature.bind(record.module, *record.args, **record.kwargs)
    bound.apply_defaults()
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [value for name, value in bound.arguments.items() if signature.parameters[name].kind not in free][1:]


def _spelled(graph):
    """The steps of a graph as comparable data, values numbered in order of first appearance."""
    numbers = {}

    def number(values):
        return [(numbers.setdefault(value, len(numbers)), value.shape) for value in values]

    number(graph.inputs)
    steps = []
    for node in graph.nodes:
        what = id(node.child.module) if node.child else node.constants
        steps.append((title(node), what, number(node.inputs), number(node.outputs), node.in_place))
    return [*steps, ("its output", None, number(graph.outputs), None, None)]
