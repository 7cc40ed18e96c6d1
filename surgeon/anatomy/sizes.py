"""Where a forward can read how high and wide the map of its tokens is, at whatever size the network runs.

A tensor whose axes count the very rows and columns says it. A number among the arguments is only believed if it was
the height, or the width, in runs on images of two shapes.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from surgeon.anatomy.maps import counted
from surgeon.attention.layouts import TOKENS
from surgeon.forward.arguments import parameters, where_given
from surgeon.forward.reading import Reading, Readings
from surgeon.forward.subclass import takes_grafts
from surgeon.outside.torch import tree_leaves
from surgeon.trace.pixels import Part

if TYPE_CHECKING:
    from surgeon.trace.graph import Graph, Value
    from surgeon.trace.pixels import Axis, Side


@dataclass(frozen=True)
class Tokens:
    """Tokens in one call of the module that will own attention, with the names of the values of its forward.

    value: the tokens. layout: of them. graph: the call. names: by value, empty where the forward is not rewritten.
    is_inside: whether attention comes before the module returns.
    """

    value: Value
    layout: str
    graph: Graph
    names: Mapping[Value, str]
    is_inside: bool = False

    @property
    def size(self) -> tuple[int, ...]:
        """Of the map, the rows first."""
        return tuple(part.length for part in self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is counted, the rows first."""
        axis = counted(self.value, TOKENS[self.layout])
        return axis.parts if axis is not None else ()


def named(after: str, graph: Graph, names: Mapping[Value, str]) -> Value | None:
    """The value of a call that a Site names."""
    edge, _, index = after.partition(".")
    if edge == "output":
        return _returned(graph, int(index or 0))
    if edge == "input":
        return next((value for value in graph.inputs if where_given(graph, value) == after), None)
    return next((value for value, name in names.items() if name == after), None)


def _returned(graph: Graph, leaf: int) -> Value | None:
    leaves = tree_leaves(graph.result)
    tensors = [place for place, held in enumerate(leaves) if isinstance(held, torch.Tensor)]
    return graph.outputs[tensors.index(leaf)] if leaf in tensors else None


def same(tokens: Tokens, run: Graph) -> Tokens | None:
    """The same tokens in another run of the network, which took the same steps; None if it did not."""
    before = tokens.graph
    graph = next((graph for graph in run.walk() if graph.path == before.path and graph.finished), None)
    if graph is None or [node.op for node in graph.nodes] != [node.op for node in before.nodes]:
        return None
    partners = {**dict(zip(before.inputs, graph.inputs)), **dict(zip(before.outputs, graph.outputs))}
    for old, new in zip(before.nodes, graph.nodes):
        partners.update(zip(old.outputs, new.outputs))
    value = partners.get(tokens.value)
    return None if value is None else Tokens(value, tokens.layout, graph, {}, tokens.is_inside)


def readings(tokens: Tokens, other: Tokens | None) -> Readings | None:
    """Where the forward has the size of the map of `tokens`; None if it does not have it.

    Args:
        other: the same tokens in a run on an image of another shape; None if there was no such run.
    """
    found = [_reading(tokens, other, at) for at in range(len(tokens.parts))]
    told = tuple(reading for reading in found if reading is not None)
    return told if told and len(told) == len(found) else None


def _reading(tokens: Tokens, other: Tokens | None, at: int) -> Reading | None:
    """Where the forward has one side of the map."""
    part = tokens.parts[at]
    tensors = (*_tensors_given(tokens.graph), *_tensors_made(tokens))
    for reading, value in tensors:
        for axis, what in enumerate(value.counts):
            if value is not tokens.value and _is_side(what, part):
                return replace(reading, axis=axis)
    if other is None or len(other.parts) != len(tokens.parts):
        return None
    later = dict(_numbers(other))
    same = (
        reading
        for reading, number in _numbers(tokens)
        if number == part.length and later.get(reading) == other.parts[at].length
    )
    return next(same, None)


def _is_side(axis: Axis | None, part: Part) -> bool:
    return axis is not None and axis.parts == (part,) and not axis.before and not axis.after


def _arguments(graph: Graph) -> Iterator[tuple[Reading, Any]]:
    """Everything that the module was given, with the items of collections one by one."""
    forward = type(graph.module).forward
    names = parameters(forward)
    bound = inspect.signature(forward).bind(graph.module, *graph.args, **graph.kwargs).arguments
    known = inspect.signature(forward).parameters
    for name, value in [*bound.items()][1:]:
        if known[name].kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        yield from _within(Reading(name, names.index(name) if name in names else None), value)


def _within(reading: Reading, value: Any) -> Iterator[tuple[Reading, Any]]:
    """A value, and all that lies in it if it is a collection."""
    yield reading, value
    if isinstance(value, (tuple, list)):
        for item, held in enumerate(value):
            yield from _within(replace(reading, items=(*reading.items, item)), held)


def _tensors_given(graph: Graph) -> Iterator[tuple[Reading, Value]]:
    values = {id(tensor): value for tensor, value in zip(_leaves(graph), graph.inputs)}
    for reading, argument in _arguments(graph):
        if isinstance(argument, torch.Tensor) and id(argument) in values:
            yield reading, values[id(argument)]


def _leaves(graph: Graph) -> list[torch.Tensor]:
    leaves = tree_leaves((graph.args, graph.kwargs))
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _tensors_made(tokens: Tokens) -> Iterator[tuple[Reading, Value]]:
    """What the forward itself made before the tokens, and has a name for."""
    for value, name in tokens.names.items():
        if value.order < tokens.value.order:
            yield Reading(name, is_node=True), value


def _numbers(tokens: Tokens) -> Iterator[tuple[Reading, int]]:
    """All numbers that the module was given, and, where attention comes behind that, that it returned."""
    returned = () if tokens.is_inside else _within(Reading(None), tokens.graph.result)
    told = (*_arguments(tokens.graph), *returned)
    yield from ((reading, value) for reading, value in told if type(value) is int)


@dataclass(frozen=True)
class Source:
    """The module that knows how large the map of some tokens is, when their own forward does not.

    planned: the size of the tokens' map. readings: where it is read, height first; strides: in how many rows, and
    columns, for one of the tokens'.
    """

    path: str
    planned: tuple[int, ...]
    readings: Readings
    strides: tuple[int, ...]


def source(tokens: Tokens, other: Tokens, run: Graph) -> Source | None:
    """A module around the tokens that is told the size of their map; or the first one in `run` that makes that map.

    None where that is of one size, whatever the image; or where nothing is known of it.

    Args:
        other: the same tokens in a run on an image of another shape.
    """
    if tokens.size == other.size:
        return None
    return _told_around(tokens, other) or _map_before(tokens, other, run)


def _told_around(tokens: Tokens, other: Tokens) -> Source | None:
    around = zip(_parents(tokens.graph), _parents(other.graph))
    for graph, later in around:
        if takes_grafts(graph.module):
            read = readings(
                Tokens(tokens.value, tokens.layout, graph, {}, True), replace(other, graph=later, is_inside=True)
            )
            if read is not None:
                return Source(graph.path, tokens.size, read, (1,) * len(read))
    return None


def _parents(graph: Graph) -> Iterator[Graph]:
    """The calls around a call, inside out; not that of the whole network, parts of which may be run without it."""
    while graph.parent is not None and graph.parent.parent is not None:
        graph = graph.parent
        yield graph


def _map_before(tokens: Tokens, other: Tokens, run: Graph) -> Source | None:
    """The first module in `run` that returns or is given, once in it, the map of which the tokens are the pixels."""
    strides = _strides(tokens)
    if strides is None or strides != _strides(other):
        return None
    # The whole network comes last: parts of it may be called without it.
    whole, *parts = run.walk()
    calls = Counter(graph.path for graph in parts)
    for graph in (graph for graph in (*parts, whole) if takes_grafts(graph.module) and calls[graph.path] < 2):
        for reading, value in (*_tensors_returned(graph), *_tensors_given(graph)):
            axes = [_axis_of(part.side, value) for part in tokens.parts]
            if None not in axes and value.order < tokens.value.order:
                return Source(graph.path, tokens.size, tuple(replace(reading, axis=axis) for axis in axes), strides)
    return None


def _strides(tokens: Tokens) -> tuple[int, ...] | None:
    """How many rows and columns of the map there are for one of the tokens'; None if they don't go evenly."""
    if any(part.side.length % part.length for part in tokens.parts):
        return None
    return tuple(part.side.length // part.length for part in tokens.parts)


def _axis_of(side: Side, value: Value) -> int | None:
    """The axis of a value that counts all of one side, and nothing else."""
    whole = (Part(side, 1, side.length),)
    return next((at for at, axis in enumerate(value.counts) if axis is not None and axis.parts == whole), None)


def _tensors_returned(graph: Graph) -> Iterator[tuple[Reading, Value]]:
    values = iter(graph.outputs)
    for reading, held in _within(Reading(None), graph.result):
        if isinstance(held, torch.Tensor):
            yield reading, next(values)
