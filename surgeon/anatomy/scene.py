"""What rules look at: one observed run, the maps in it, its trunk and its stem."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from surgeon.anatomy.maps import Maps
from surgeon.anatomy.residual import SEVERAL, blocks
from surgeon.anatomy.scores import outermost_gates
from surgeon.anatomy.steps import Step
from surgeon.anatomy.trunk import trunk, up_to_head

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
    def _trunk(self) -> list[Step]:
        """The same without a decoder."""
        return trunk(self.graph, self.maps)

    @cached_property
    def streams(self) -> list[Scene]:
        """The scene as it is for each of the images, where the network is given several."""
        if len(self.maps.images) == 1:
            return [self]
        return [Scene(self.graph, maps) for maps in self.maps.streams]

    @cached_property
    def steps(self) -> list[Step]:
        """The trunk of each image, each size at which it shrinks or ends."""
        if len(self.maps.images) > 1:
            return [step for stream in self.streams for step in stream.steps]
        return up_to_head(self._trunk, self.graph, self.maps)

    @cached_property
    def given(self) -> list[Value]:
        """The image, and all others that the network is given beside it."""
        return self.maps.images

    @cached_property
    def images(self) -> set[Value]:
        """The images, and what is made of them before anything is learned: resized, normalised, with axes moved."""
        found = set(self.given)
        for node in self.graph.nodes:
            if not node.cost.weights and found.intersection(node.inputs):
                found.update(value for value in node.outputs if self.maps[value])
        return found

    def is_stems(self, value: Value) -> bool:
        """Whether a map on the trunk is the image or the stem's, and ends no stage.

        The stem makes the first size, if that is more than a third of the image's, or is the module that takes the
        image. It is more than a stem where several residual blocks run in it; or where one does, if nothing was made
        smaller before, a decoder comes back to it, or the next stage has no more layers. What a decoder comes back to
        at the image's own size is never one, nor what a module makes for it that is of the next one's class.
        """
        if value in self.images:
            return True
        is_whole, is_level = self._is_whole(value), self._is_read_again(value)
        if is_level and (is_whole or self._is_made_as_the_next(value)):
            return False
        if not self._is_of_the_first_size(value):
            return value in self.stem or self._layers_until(value) <= 1
        found = blocks(self.graph, self.maps, until=value, least=1 if is_level else 2)
        return found < (1 if is_whole or is_level or self._is_as_deep_as_the_next(value) else SEVERAL)

    def _layers_until(self, value: Value) -> int:
        """How many layers with a kernel have run on the image when `value` is made."""
        made = self.graph.inner_makers.items()
        early = {node for found, node in made if found.order <= value.order and self.maps.is_of_image(found)}
        return sum(node.cost.kernels for node in early)

    def _is_as_deep_as_the_next(self, value: Value) -> bool:
        """Whether as many layers have made `value` of the image as make the next size of it."""
        after = [step.value for step in self.steps if step.value.order > value.order]
        layers = self._layers_until(value)
        return bool(after) and self._layers_until(after[0]) - layers <= layers

    def _is_made_as_the_next(self, value: Value) -> bool:
        """Whether the module that made the map smaller before `value`, and gave it, is of the class of the next one."""
        smaller = [step for step in self._trunk if step.kind == "smaller"]
        pairs = ((one.node, other.node) for one, other in pairwise(smaller) if other.value is value)
        kinds = [
            (type(a.child.module), type(b.child.module))
            for a, b in pairs
            if a and b and a.child and b.child and value in a.outputs
        ]
        return any(one is other for one, other in kinds)

    def _is_whole(self, value: Value) -> bool:
        """Whether a map is as large as the image."""
        return self.maps.known(value).size == self.maps.known(self.maps.image).size

    def _is_of_the_first_size(self, value: Value) -> bool:
        sizes = [self.maps.known(step.value).size for step in self.steps if step.value not in self.images]
        here = self.maps.known(value).size
        return sizes[:1] == [here] and here[-1] * 3 > self.maps.image.shape[-1]

    def _is_read_again(self, value: Value) -> bool:
        """Whether something takes `value` after the map was made smaller for the last time, as a decoder does."""
        readers = (node for node in value.users if node.outputs and not node.holds_steps)
        # Not what goes into the last of these steps: the step itself takes that.
        smaller = (step.node for step in self.steps if step.kind == "smaller" and step.node)
        deepest = max((made.order for node in smaller for made in node.outputs), default=value.order)
        return any(node.outputs[0].order > deepest for node in readers)

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
            if self._is_slim(graph, values) and self._trunk[-1].value not in values:
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
        from surgeon.outside.torch import has_hooks  # here alone: commands that read rules never need torch

        hooked = [graph for graph in self.graphs if has_hooks(graph.module)]
        return {*self.graph.outputs, *(value for graph in hooked for value in (*graph.inputs, *graph.outputs))}

    @cached_property
    def used(self) -> set[Value]:
        """All values that what leaves the network depends on."""
        # Any output of a module that shows no steps of its own may depend on any of its inputs.
        nodes = (node for graph in self.graphs for node in graph.nodes)
        steps = [node for node in nodes if node.outputs and not node.holds_steps]
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
