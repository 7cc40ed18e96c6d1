"""What one run of a model did, as data: a Graph for every call of a module, of Nodes that turn Values into Values."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

NOTHING = 0, 0, 0


@dataclass(eq=False)
class Value:
    """A tensor that the run made or was given.

    axis: which of its axes counts channels, None where nobody can tell.
    order: its place in the order of execution.
    fixed: does not depend on the model's input (a weight, a position table).
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    axis: int | None
    order: int
    fixed: bool
    users: list = field(default_factory=list, repr=False)


@dataclass(eq=False)
class Node:
    """One step of a module's forward: an operator, or the call of a child (`child` is its graph).

    line: the Line of source that took it, if lines were asked for.
    """

    op: str
    graph: object = field(repr=False)
    inputs: list[Value]
    outputs: list[Value]
    child: object = field(default=None, repr=False)
    constants: tuple = ()
    weights: tuple[int, ...] = ()
    in_place: bool = False
    line: object = None

    @property
    def cost(self):
        """(layers with a matrix or kernel, layers with any weight, scales) of this step, children included.

        A scale is a product with something made of weights alone, such as a layer scale that was viewed to fit.
        """
        if self.child:
            return self.child.cost
        fixed = sum(value.fixed for value in self.inputs)
        if self.inputs and fixed == len(self.inputs):
            # What a layer does to its own weight (standardising it) is no layer more.
            return NOTHING
        kernels = self.op.startswith(("conv", "linear")) or any(rank > 1 for rank in self.weights)
        return int(kernels), int(kernels or bool(self.weights)), int(self.op == "mul" and fixed > 0)


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
    args: tuple = field(default=(), repr=False)
    kwargs: dict = field(default_factory=dict, repr=False)
    result: object = field(default=None, repr=False)
    inputs: list = field(default_factory=list, repr=False)
    outputs: list = field(default_factory=list, repr=False)
    nodes: list = field(default_factory=list, repr=False)
    finished: bool = False

    @property
    def parent(self):
        """The graph of the module that called this one; None for the model itself."""
        return self.caller and self.caller.graph

    @property
    def children(self):
        """The graphs of the modules that this one called, in order."""
        return [node.child for node in self.nodes if node.child]

    def walk(self):
        """This graph and all those inside it, a parent before its children."""
        yield self
        for child in self.children:
            yield from child.walk()

    @cached_property
    def makers(self):
        """{value: the step of this very graph that made it}; what came in from outside is not there.

        A step that hands its input on as it is (dropout in eval mode, Identity) made nothing.
        """
        made = {}
        for node in self.nodes:
            for value in node.outputs:
                if value not in node.inputs and value not in self.inputs:
                    made.setdefault(value, node)
        return made

    @cached_property
    def cost(self):
        """How much is learned on the way through, counted as for one step."""
        costs = [node.cost for node in self.nodes]
        return tuple(map(sum, zip(*costs))) if costs else NOTHING

    def hands_on(self, value):
        """True if `value` leaves this module as it came in."""
        return value in self.inputs and value in self.outputs
