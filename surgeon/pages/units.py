"""Which stretches of a run are drawn as one box each: blocks as they are, and plain layers one behind another.

What joins a branch to its shortcut is what the rules of the place `residual` say, as for sites.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from surgeon import rulebook
from surgeon.anatomy import trunk
from surgeon.rulebook import match

if TYPE_CHECKING:
    from surgeon.anatomy.maps import FeatureMap, Maps
    from surgeon.anatomy.scene import Scene
    from surgeon.rulebook.grammar import Rule
    from surgeon.trace.graph import Graph, Node

Size = tuple[int, ...]

# A module with less than this share of a network's layers is a block, whatever is in it.
_SHARE = 8


@dataclass(eq=False)
class Unit:
    """Steps of one forward that are drawn together.

    graph: the call whose steps they are. nodes: the steps, in order. is_block: whether they are all of its steps.
    joins: those of them that add a branch to its shortcut.
    """

    graph: Graph
    nodes: list[Node]
    is_block: bool
    joins: list[Node]

    @cached_property
    def parts(self) -> list[Graph]:
        """The calls of modules that it consists of: the block's own, or those of the layers."""
        if self.is_block:
            return [self.graph]
        return list(dict.fromkeys(node.child for node in self.nodes if node.child))

    def made(self, maps: Maps) -> tuple[int, Size]:
        """Channels and size of the last map that it makes; of a vector its length and (); 0 and () of anything else."""
        for node in reversed(self.nodes):
            found = _map_of(node, maps)
            if found:
                return found.channels, found.size if found.pixels > 1 else ()
            if node.outputs and len(node.outputs[0].shape) == 2:
                return node.outputs[0].shape[1], ()
        return 0, ()


def units(scene: Scene, rules: Sequence[Rule]) -> list[Unit]:
    """All of a run, in order of execution, no step of it twice. Steps that only move numbers may be left out."""
    return _Cutter(scene, joins(scene, rules)).inside(scene.graph)


def joins(scene: Scene, rules: Sequence[Rule]) -> set[Node]:
    """The steps that add a branch to its shortcut, in every call of their module."""
    found = match.candidates(*rulebook.for_place("residual", rules), scene)
    steps = {_step(candidate.node) for candidate, _ in found if candidate.node}
    adds = (node for graph in scene.graphs for node in graph.nodes if node.op == "add" and len(node.inputs) == 2)
    return {node for node in adds if _step(node) in steps}


def _step(node: Node) -> tuple[str, int]:
    """Which step of which module's forward a node is."""
    return node.graph.path, node.graph.nodes.index(node)


class _Cutter:
    """Cuts a run into units."""

    def __init__(self, scene: Scene, joins: set[Node]) -> None:
        self.scene, self.maps, self.joins = scene, scene.maps, joins

    def inside(self, graph: Graph) -> list[Unit]:
        """All that runs in one module."""
        found: list[Unit] = []
        run: list[Node] = []
        for node in graph.nodes:
            whole = self._whole(node.child) if node.child else []
            if whole or _is_of_another_size(node, run, self.maps):
                found += [*self._layers(graph, run), *whole]
                run = []
            if not whole:
                run.append(node)
            if node in self.joins:
                found += self._layers(graph, run)
                run = []
        return [*found, *self._layers(graph, run)]

    def _whole(self, graph: Graph) -> list[Unit]:
        """A module as a unit, or as all that are in it; nothing of a mere layer."""
        if self._is_opened(graph):
            return self.inside(graph)
        own = self._own_joins(graph)
        return [Unit(graph, graph.nodes, True, own)] if own or graph.cost.kernels > 1 else []

    def _layers(self, graph: Graph, run: list[Node]) -> list[Unit]:
        """The layers that came one behind another as a unit, if they learn, change the map's size, or join two."""
        own = [node for node in run if node in self.joins]
        is_work = own or any(node.cost.weights or _resizes(node, self.maps) for node in run)
        return [Unit(graph, run, False, own)] if is_work else []

    def _is_opened(self, graph: Graph) -> bool:
        """Whether a module is a part of the network rather than a block of it: it is made of blocks, or has stages."""
        inner = sum(child.cost.kernels for child in self._blocks(graph))
        if inner and (not self._own_joins(graph) or 2 * inner > graph.cost.kernels):
            return True
        if self._own_joins(graph):
            return False
        steps = (step for step in trunk.steps(graph, self.maps) if step.kind == "smaller")
        # From one size alone several slices of one map go, or several branches.
        if len({self.maps.known(step.value).size for step in steps}) > 1:
            return True
        composed = [child for child in graph.children if child.cost.kernels > 1]
        return len(composed) > 1 and graph.cost.kernels * _SHARE > self.scene.graph.cost.kernels

    def _blocks(self, graph: Graph) -> Iterator[Graph]:
        """The outermost modules in `graph` that join a branch to a shortcut."""
        for child in graph.children:
            if self._own_joins(child):
                yield child
            else:
                yield from self._blocks(child)

    def _own_joins(self, graph: Graph) -> list[Node]:
        return [node for node in graph.nodes if node in self.joins]


def _resizes(node: Node, maps: Maps) -> bool:
    before = next(filter(None, (maps.grouped(value) for value in node.inputs)), None)
    after = _map_of(node, maps)
    return before is not None and after is not None and before.size != after.size


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
