"""Which stretches of a run are drawn as one box each: blocks as they are, and plain layers one behind another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from surgeon.anatomy import trunk
from surgeon.anatomy.residual import is_residual

if TYPE_CHECKING:
    from surgeon.anatomy.maps import FeatureMap, Maps
    from surgeon.anatomy.scene import Scene
    from surgeon.trace.graph import Graph, Node

Size = tuple[int, ...]

# A module with less than this share of a network's layers is a block, whatever is in it.
_SHARE = 8


@dataclass(eq=False)
class Unit:
    """Steps of one forward that are drawn together.

    graph: the call whose steps they are. nodes: the steps, in order. is_block: whether they are all of its steps.
    """

    graph: Graph
    nodes: list[Node]
    is_block: bool

    @cached_property
    def parts(self) -> list[Graph]:
        """The calls of modules that it consists of: the block's own, or those of the layers."""
        if self.is_block:
            return [self.graph]
        return list(dict.fromkeys(node.child for node in self.nodes if node.child))

    def joins(self, maps: Maps) -> list[Node]:
        """The steps that add a branch to its shortcut."""
        return [node for node in self.nodes if is_residual(node, maps)]

    def made(self, maps: Maps) -> tuple[int, Size]:
        """Channels and size of the last map that it makes; of a vector its length and (); 0 and () of anything else."""
        for node in reversed(self.nodes):
            found = _map_of(node, maps)
            if found:
                return found.channels, found.size if found.pixels > 1 else ()
            if node.outputs and len(node.outputs[0].shape) == 2:
                return node.outputs[0].shape[1], ()
        return 0, ()


def units(scene: Scene) -> list[Unit]:
    """All of a run, in order of execution, no step of it twice. Steps that only move numbers may be left out."""
    return [*_inside(scene.graph, scene)]


def _inside(graph: Graph, scene: Scene) -> Iterator[Unit]:
    run: list[Node] = []
    for node in graph.nodes:
        whole = _whole(node.child, scene) if node.child else []
        if whole:
            yield from (*_layers(graph, run, scene.maps), *whole)
            run = []
            continue
        if _is_of_another_size(node, run, scene.maps):
            yield from _layers(graph, run, scene.maps)
            run = []
        run.append(node)
        if is_residual(node, scene.maps):
            yield from _layers(graph, run, scene.maps)
            run = []
    yield from _layers(graph, run, scene.maps)


def _whole(graph: Graph, scene: Scene) -> list[Unit]:
    """A module as a unit, or as all that are in it; nothing of a mere layer."""
    if _is_opened(graph, scene):
        return [*_inside(graph, scene)]
    return [Unit(graph, graph.nodes, True)] if _joins(graph, scene.maps) or graph.cost.kernels > 1 else []


def _layers(graph: Graph, run: list[Node], maps: Maps) -> list[Unit]:
    """The layers that came one behind another as a unit, if they learn, change the size of the map, or join two."""
    is_work = any(node.cost.weights or _resizes(node, maps) or is_residual(node, maps) for node in run)
    return [Unit(graph, run, False)] if is_work else []


def _resizes(node: Node, maps: Maps) -> bool:
    before = next(filter(None, (maps.grouped(value) for value in node.inputs)), None)
    after = _map_of(node, maps)
    return before is not None and after is not None and before.size != after.size


def _is_opened(graph: Graph, scene: Scene) -> bool:
    """Whether a module is a part of the network rather than a block of it: blocks are in it, or several sizes."""
    if any(_joins(inner, scene.maps) for child in graph.children for inner in child.walk()):
        return True
    # From one size alone the branch of a block and its shortcut go, or several slices of one map.
    smaller = {scene.maps.known(step.value).size for step in trunk.steps(graph, scene.maps) if step.kind == "smaller"}
    if len(smaller) > 1:
        return True
    composed = [child for child in graph.children if child.cost.kernels > 1]
    return len(composed) > 1 and graph.cost.kernels * _SHARE > scene.graph.cost.kernels


def _joins(graph: Graph, maps: Maps) -> bool:
    return any(node.op == "add" and is_residual(node, maps) for node in graph.nodes)


def _is_of_another_size(node: Node, run: Iterable[Node], maps: Maps) -> bool:
    """Whether a step leaves the size at which the layers before it work."""
    here, before = _size(node, maps), next(filter(None, (_size(other, maps) for other in reversed([*run]))), None)
    return bool(here and before) and here != before


def _size(node: Node, maps: Maps) -> Size | None:
    """The size of the map that a step makes, one pixel for a vector; None where it makes neither."""
    found = _map_of(node, maps)
    if found:
        return found.size if found.pixels > 1 else (1,)
    return (1,) if node.outputs and all(len(value.shape) <= 2 for value in node.outputs) else None


def _map_of(node: Node, maps: Maps) -> FeatureMap | None:
    return next(filter(None, (maps.grouped(value) for value in node.outputs)), None)
