"""What rules look at: one observed run, the maps in it, its trunk and its stem."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from surgeon.anatomy.maps import Maps
from surgeon.anatomy.residual import blocks
from surgeon.anatomy.scores import outermost_gates
from surgeon.anatomy.trunk import Step, trunk

if TYPE_CHECKING:
    from torch import nn

    from surgeon.trace.graph import Graph, Node, Value


class Scene:
    """What a rule looks at: one observed run, the maps in it and its trunk."""

    def __init__(self, graph: Graph, maps: Maps | None = None) -> None:
        self.graph = graph
        self.maps = maps or Maps(graph)

    def of(self, graph: Graph) -> Scene:
        """The scene narrowed to one module; what is a map stays what it is."""
        return self if graph is self.graph else Scene(graph, self.maps)

    @cached_property
    def graphs(self) -> list[Graph]:
        """All graphs, a parent before its children, in order of execution."""
        return list(self.graph.walk())

    @cached_property
    def steps(self) -> list[Step]:
        """The trunk, each size at which it shrinks or ends."""
        return trunk(self.graph, self.maps)

    @cached_property
    def images(self) -> set[Value]:
        """The image, and what is made of it before anything is learned: resized, normalised, with its axes moved."""
        found = {self.maps.image}
        for node in self.graph.nodes:
            if not node.cost.weights and found.intersection(node.inputs):
                found.update(value for value in node.outputs if self.maps[value])
        return found

    @cached_property
    def stem(self) -> set[Value]:
        """All values made in the modules that take an image and are stems: about a layer for each size, no blocks.

        A network whose first module holds nearly all of it (`features`) has its stem inside that.
        """
        return {value for image in self.images for value in self._stem_of(image)}

    def _stem_of(self, image: Value) -> set[Value]:
        graph = _first_taker(image, self.graph)
        while graph is not None:
            values = {value for inner in graph.walk() for value in inner.makers}
            if self._is_slim(graph, values) and self.steps[-1].value not in values:
                return values
            graph = _first_taker(image, graph)
        return set()

    def _is_slim(self, graph: Graph, values: set[Value]) -> bool:
        """Whether the module that made `values` has about a layer for each size of its map, and no residual block."""
        sizes = {self.maps.known(step.value).size for step in self.steps if step.value in values}
        return graph.cost.kernels <= len(sizes) + 1 and not blocks(graph, self.maps)

    @cached_property
    def gates(self) -> list[Node]:
        """The calls of the network's own gates, those inside others left out, in order of execution."""
        found = outermost_gates(self.graph, self.maps)
        return [gate.caller for gate in found if gate.caller is not None]

    @cached_property
    def leaving(self) -> set[Value]:
        """What leaves the network: its output, and whatever hooks are shown."""
        hooked = [graph for graph in self.graphs if graph.module._forward_hooks or graph.module._forward_pre_hooks]
        return {*self.graph.outputs, *(value for graph in hooked for value in (*graph.inputs, *graph.outputs))}

    @cached_property
    def used(self) -> set[Value]:
        """All values that what leaves the network depends on."""
        # Any output of a module that shows no steps of its own may depend on any of its inputs.
        nodes = (node for graph in self.graphs for node in graph.nodes)
        steps = [node for node in nodes if node.outputs and not (node.child and node.child.nodes)]
        found = set(self.leaving)
        for node in sorted(steps, key=lambda node: node.outputs[0].order, reverse=True):
            if found.intersection(node.outputs):
                found.update(node.inputs)
        return found

    def inside(self, path: str) -> Scene | None:
        """The scene narrowed to what the child `path` does; None if there is no such child."""
        full = f"{self.graph.path}.{path}".strip(".")
        graph = next((graph for graph in self.graphs if graph.path == full), None)
        return None if graph is None else self.of(graph)


def _first_taker(value: Value, graph: Graph) -> Graph | None:
    """The first child in `graph` that is given `value`."""
    return next((node.child for node in graph.nodes if value in node.inputs and node.child), None)


def class_names(module: nn.Module) -> list[str]:
    """Full names of a module's class and of all that it derives from."""
    return [f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__]
