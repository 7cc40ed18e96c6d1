"""A module that runs several times: side by side, on each of several images, or one behind another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from surgeon.anatomy.residual import Ways

if TYPE_CHECKING:
    from surgeon.trace.graph import Graph


def calls_of(graph: Graph, graphs: Sequence[Graph]) -> list[Graph]:
    """All calls of the module of `graph`, in order of execution."""
    return [other for other in graphs if other.module is graph.module]


def are_side_by_side(calls: Sequence[Graph], graphs: Sequence[Graph]) -> bool:
    """True if the calls of one module take and make the same shapes, and none has to wait for another.

    A siamese network runs so on each of its images. An activation that a block shares, or a layer that is
    repeated, does not: what comes from one call goes into the next.
    """
    outer = list(dict.fromkeys(_outermost_repeated(call, graphs) for call in calls))
    parents = {call.parent for call in outer}
    if len(outer) != len(calls) or len(parents) != 1 or len({call.module for call in outer}) != 1:
        return False
    return len(set(map(_shapes, calls))) == 1 and not any(_feeds(one, other) for one in outer for other in outer)


def _outermost_repeated(call: Graph, graphs: Sequence[Graph]) -> Graph:
    """The call itself, or the outermost of those around it whose module runs several times as well."""
    while call.parent is not None and len(calls_of(call.parent, graphs)) > 1:
        call = call.parent
    return call


def _shapes(call: Graph) -> tuple[tuple[tuple[int, ...], ...], ...]:
    return tuple(value.shape for value in call.inputs), tuple(value.shape for value in call.outputs)


def _feeds(one: Graph, other: Graph) -> bool:
    """Whether what `other` is given depends on what `one` made; both are called by one forward."""
    if one.parent is None or one is other:
        return False
    ways = Ways.of(one.parent)
    needed = set(other.inputs).union(*(ways.behind(value) for value in other.inputs))
    return not needed.isdisjoint(one.outputs)
