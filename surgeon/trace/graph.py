"""What one run of a model did, as data: a Graph for every call of a module, of Nodes that turn Values into Values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import nn

    from surgeon.trace.lines import Line
    from surgeon.trace.pixels import Axes


class Cost(NamedTuple):
    """How much is learned in a step, or on the way through several; compared in this order.

    kernels: layers with a matrix or kernel. weights: layers with any weight.
    scales: products with something made of weights alone, such as a layer scale that was viewed to fit.
    """

    kernels: int
    weights: int
    scales: int

    def plus(self, other: Cost) -> Cost:
        """The cost of two steps one after the other. (`+` would put the one tuple behind the other.)"""
        return Cost(self.kernels + other.kernels, self.weights + other.weights, self.scales + other.scales)


NOTHING = Cost(0, 0, 0)


@dataclass(eq=False)
class Value:
    """A tensor that the run made or was given.

    axis: which of its axes counts channels, None where nobody can tell.
    counts: what each axis counts, as far as it is the pixels of a map.
    order: its place in the order of execution.
    fixed: does not depend on the model's input (a weight, a position table).
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    axis: int | None
    order: int
    fixed: bool
    counts: Axes
    users: list[Node] = field(default_factory=list, repr=False)


@dataclass(eq=False)
class Node:
    """One step of a module's forward: an operator, or the call of a child (`child` is its graph).

    constants: all arguments that are no tensors. weights: the ranks of those that are weights.
    line: the Line of source that took it, if lines were asked for.
    """

    op: str
    graph: Graph = field(repr=False)
    inputs: list[Value]
    outputs: list[Value]
    child: Graph | None = field(default=None, repr=False)
    constants: tuple[Any, ...] = ()
    weights: tuple[int, ...] = ()
    in_place: bool = False
    line: Line | None = None

    @property
    def holds_steps(self) -> bool:
        """Whether it is the call of a module whose own steps are on record."""
        return self.child is not None and bool(self.child.nodes)

    @property
    def cost(self) -> Cost:
        """How much is learned in this step, children included."""
        if self.child:
            return self.child.cost
        fixed = sum(value.fixed for value in self.inputs)
        if self.inputs and fixed == len(self.inputs):
            # What a layer does to its own weight (standardising it) is not another layer.
            return NOTHING
        has_kernel = self.op.startswith(("conv", "linear")) or any(rank > 1 for rank in self.weights)
        is_scale = self.op == "mul" and fixed > 0
        return Cost(int(has_kernel), int(has_kernel or bool(self.weights)), int(is_scale))


@dataclass(eq=False)
class Graph:
    """One call of one module: its steps, and what went in and out.

    path: the module's name in the model, "" for the model itself. caller: the step that called it.
    args, kwargs, result: the arguments as passed and what came back, tensors on meta.
    inputs, outputs: the Values among them.
    """

    path: str
    module: nn.Module = field(repr=False)
    caller: Node | None = field(default=None, repr=False)
    args: tuple[Any, ...] = field(default=(), repr=False)
    kwargs: dict[str, Any] = field(default_factory=dict, repr=False)
    result: Any = field(default=None, repr=False)
    inputs: list[Value] = field(default_factory=list, repr=False)
    outputs: list[Value] = field(default_factory=list, repr=False)
    nodes: list[Node] = field(default_factory=list, repr=False)
    finished: bool = False

    @property
    def parent(self) -> Graph | None:
        """The graph of the module that called this one; None for the model itself."""
        return None if self.caller is None else self.caller.graph

    @property
    def children(self) -> list[Graph]:
        """The graphs of the modules that this one called, in order."""
        return [node.child for node in self.nodes if node.child]

    def walk(self) -> Iterator[Graph]:
        """This graph and all those inside it, a parent before its children."""
        yield self
        for child in self.children:
            yield from child.walk()

    @cached_property
    def makers(self) -> dict[Value, Node]:
        """{value: the step of this very graph that made it}; what came in from outside is not there.

        A step that returns its input as it is (dropout in eval mode, Identity) made nothing.
        """
        makers: dict[Value, Node] = {}
        for node in self.nodes:
            for value in node.outputs:
                if value not in node.inputs and value not in self.inputs:
                    makers.setdefault(value, node)
        return makers

    @cached_property
    def inner_makers(self) -> dict[Value, Node]:
        """{value: the innermost step that made it}, of this graph and all those inside it."""
        makers = (graph.makers.items() for graph in self.walk())
        return {value: node for items in makers for value, node in items if not node.holds_steps}

    @cached_property
    def cost(self) -> Cost:
        """How much is learned on the way through, all steps together."""
        total = NOTHING
        for node in self.nodes:
            total = total.plus(node.cost)
        return total

    def passes_through(self, value: Value) -> bool:
        """True if `value` leaves this module as it came in."""
        return value in self.inputs and value in self.outputs
