"""Where the sites of a plan are in a drawing: at which step of which unit."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from surgeon.anatomy.sizes import named
from surgeon.errors import Untraceable

if TYPE_CHECKING:
    from surgeon.anatomy.observation import Observation
    from surgeon.pages.forward import Forward
    from surgeon.sites import Site
    from surgeon.trace.graph import Graph, Node, Value


class Spot(NamedTuple):
    """unit: its number. step: the line behind which attention is, -1 before all. inside: of the module in that line."""

    unit: int
    step: int
    inside: bool = False


@dataclass(frozen=True)
class Places:
    """The units of an observed run, and where in them a site is."""

    observation: Observation
    forwards: list[Forward]

    @cached_property
    def steps(self) -> dict[Node, Spot]:
        """Every step that is drawn."""
        numbered = enumerate(self.forwards)
        return {node: Spot(unit, step) for unit, forward in numbered for step, node in enumerate(forward.nodes)}

    @cached_property
    def calls(self) -> dict[str, Graph]:
        """The first call of every module, by its path."""
        found: dict[str, Graph] = {}
        for graph in self.observation.scene.graphs:
            found.setdefault(graph.path, graph)
        return found

    def of(self, site: Site) -> Spot | None:
        """Where a site is; None where its module did not run."""
        graph = self.calls.get(site.module)
        if graph is None:
            return None
        value = graph.outputs[0] if site.replaces and graph.outputs else self._value(site, graph)
        if value is None:
            return None
        call = self._drawn(graph)
        if call is None or value in call.outputs or value in call.inputs:
            return self._behind(value)
        return self.steps[call]._replace(inside=True)

    def _value(self, site: Site, graph: Graph) -> Value | None:
        """The value that a site is after."""
        if site.after.split(".")[0] in ("input", "output"):
            return named(site.after, graph, {})
        try:
            return named(site.after, graph, self.observation.rewrites_of(site.module).names)
        except Untraceable:
            return None

    def _drawn(self, graph: Graph) -> Node | None:
        """The step that is drawn of all that happens in a call; None where the call is drawn step by step."""
        node = graph.caller
        while node is not None and node not in self.steps:
            node = node.graph.caller
        return node

    @cached_property
    def _made(self) -> dict[int, Spot]:
        """{order of a value: the first step that has it}, in order."""
        found: dict[int, Spot] = {}
        for node, spot in self.steps.items():
            if node.outputs:
                found.setdefault(max(value.order for value in node.outputs), spot)
        return dict(sorted(found.items()))

    @cached_property
    def _orders(self) -> list[int]:
        return [*self._made]

    def _behind(self, value: Value) -> Spot | None:
        """The step that makes a value, or the last one before it is there; the beginning of all where none is."""
        before = bisect_right(self._orders, value.order)
        if not before:
            return Spot(0, -1) if self.forwards else None
        return self._made[self._orders[before - 1]]
