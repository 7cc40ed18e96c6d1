"""What rules look at: one observed run, the maps in it, its trunk and its stem."""

from functools import cached_property

from surgeon.anatomy.maps import Maps
from surgeon.anatomy.residual import blocks
from surgeon.anatomy.trunk import trunk


class Scene:
    """What a rule looks at: one observed run, the maps in it and its trunk."""

    def __init__(self, graph, maps=None):
        self.graph = graph
        self.maps = maps or Maps(graph)

    def of(self, graph):
        """The scene narrowed to one module; what is a map stays what it is."""
        return self if graph is self.graph else Scene(graph, self.maps)

    @cached_property
    def graphs(self):
        """All graphs, a parent before its children, in order of execution."""
        return list(self.graph.walk())

    @cached_property
    def steps(self):
        """The trunk, each size at which it shrinks or ends."""
        return trunk(self.graph, self.maps)

    @cached_property
    def images(self):
        """The image, and what is made of it before anything is learned: resized, normalised, with its axes moved."""
        found = {self.maps.image}
        for node in self.graph.nodes:
            if not node.cost[1] and found.intersection(node.inputs):
                found.update(value for value in node.outputs if self.maps[value])
        return found

    @cached_property
    def stem(self):
        """All values made in the modules that take an image, where they are stems: about a layer for each size, no blocks.

        A network whose first module holds nearly all of it (`features`) has its stem inside that.
        """
        return set().union(*map(self._stem_of, self.images))

    def _stem_of(self, image):
        graph = self.graph
        while graph is not None:
            graph = next((node.child for node in graph.nodes if image in node.inputs and node.child), None)
            values = {value for inner in (graph.walk() if graph else ()) for value in inner.makers}
            sizes = {self.maps[step.value].size for step in self.steps if step.value in values}
            is_slim = graph and graph.cost[0] <= len(sizes) + 1 and not blocks(graph, self.maps)
            if is_slim and self.steps[-1].value not in values:
                return values
        return set()

    @cached_property
    def leaving(self):
        """What leaves the network: its output, and whatever hooks are shown."""
        hooked = [graph for graph in self.graphs if graph.module._forward_hooks or graph.module._forward_pre_hooks]
        return {*self.graph.outputs, *(value for graph in hooked for value in (*graph.inputs, *graph.outputs))}

    @cached_property
    def used(self):
        """All values that what leaves the network depends on."""
        # Of a module that shows no steps of its own, all may depend on all.
        steps = [node for graph in self.graphs for node in graph.nodes if node.outputs and not (node.child and node.child.nodes)]
        found = set(self.leaving)
        for node in sorted(steps, key=lambda node: node.outputs[0].order, reverse=True):
            if found.intersection(node.outputs):
                found.update(node.inputs)
        return found

    def inside(self, path):
        """The scene narrowed to what the child `path` does; None if there is no such child."""
        full = f"{self.graph.path}.{path}".strip(".")
        graph = next((graph for graph in self.graphs if graph.path == full), None)
        return graph and self.of(graph)


def class_names(module):
    """Full names of a module's class and of all that it derives from."""
    return [f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__]
