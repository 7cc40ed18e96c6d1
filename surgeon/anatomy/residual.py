"""Residual blocks: which of all the additions in a network joins a branch to its shortcut."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from surgeon.trace.graph import NOTHING

if TYPE_CHECKING:
    from surgeon.anatomy.maps import Maps
    from surgeon.trace.graph import Cost, Graph, Node, Value

# Layers with a kernel on a shortcut that projects: one, or a depthwise and a pointwise convolution.
A_PROJECTION = 2
# Blocks that are no part of a stem, nor of another block.
SEVERAL = 2


def blocks(graph: Graph, maps: Maps, until: Value | None = None, least: int = 2) -> int:
    """How many residual blocks run in `graph`; before the value `until`, if one is given.

    At `least` two kernels make a block: one may be a kernel in several parts (RepVGG), and stems have those as well.
    """
    adds = (node for inner in graph.walk() for node in inner.nodes if node.op == "add")
    early = (node for node in adds if until is None or node.outputs[0].order <= until.order)
    return sum(is_residual(node, maps) and kernels(node) >= least for node in early)


def kernels(node: Node) -> int:
    """How many layers with a kernel the branch of an add has more than its shortcut."""
    ways = Ways.of(node.graph)
    branch, shortcut = branch_and_shortcut(node)
    return ways.cost(branch).kernels - ways.cost(shortcut).kernels


def is_residual(node: Node, maps: Maps, origins: Collection[str | None] = ()) -> bool:
    """Two maps of one shape are added, one of which has learned more on its way from where both come from.

    With `outside` among the origins, the other one is what the forward was handed; with `anywhere`, further
    maps may come in on the way of the one.
    """
    return not why_not_residual(node, maps, origins)


def why_not_residual(node: Node, maps: Maps, origins: Collection[str | None] = ()) -> str:
    """Why `node` adds no branch to its shortcut, in a phrase; empty where it does. Arguments as for `is_residual`."""
    if node.child is not None:
        return "it is the call of a module"
    if len(node.inputs) != 2:
        return f"{len(node.inputs)} tensor{'s' * (len(node.inputs) != 1)} and a number, where two are added"
    branch, shortcut = branch_and_shortcut(node)
    return _why_no_two_maps(branch, shortcut, maps) or _why_no_branch(node.graph, branch, shortcut, maps, origins)


def _why_no_two_maps(branch: Value, shortcut: Value, maps: Maps) -> str:
    if maps.grouped(branch) is None:
        return _why_no_map(branch, maps)
    if not _may_be_map(shortcut, maps):
        return _why_no_map(shortcut, maps)
    return "" if branch.shape == shortcut.shape else f"their shapes differ, {branch.shape} and {shortcut.shape}"


def _why_no_map(value: Value, maps: Maps) -> str:
    return f"one of them {'does not depend on the image' if value.fixed else f'is {maps.described(value)}'}"


def _may_be_map(value: Value, maps: Maps) -> bool:
    """A map, or something made of the image whose axes nobody can tell: what is added to a map of its shape is one."""
    return maps.grouped(value) is not None or (value.axis is None and not value.fixed)


def _why_no_branch(graph: Graph, branch: Value, shortcut: Value, maps: Maps, origins: Collection[str | None]) -> str:
    ways = Ways.of(graph)
    if not ways.cost(branch) > ways.cost(shortcut):
        return "as much is learned on the one way as on the other"
    if "outside" in origins:
        return "the shortcut is made in this forward, not handed in" if shortcut in graph.makers else ""
    if not ways.share_a_fork(branch, shortcut, maps, alone="anywhere" not in origins):
        return "they do not come from one value of this forward"
    detour = ways.detour(branch, shortcut)
    if detour > A_PROJECTION:
        return f"{detour} layers with a kernel on the way of the shortcut"
    return "both are learned, at two sizes of one map" if detour and ways.is_of_levels(branch, shortcut, maps) else ""


def branch_and_shortcut(node: Node) -> tuple[Value, Value]:
    """The operands of an add: the one with more learned on its shortest way is the branch."""
    ways = Ways.of(node.graph)
    first, second = node.inputs
    return (first, second) if ways.cost(first) > ways.cost(second) else (second, first)


class Ways:
    """The ways through one graph, from what comes in to each of its values."""

    @classmethod
    def of(cls, graph: Graph) -> Ways:
        """The Ways of `graph`; found once, and kept with the graph."""
        if "ways" not in vars(graph):
            vars(graph)["ways"] = cls(graph)
        ways: Ways = vars(graph)["ways"]
        return ways

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._costs: dict[Value, Cost] = {}
        self._behind: dict[Value, frozenset[Value]] = {}
        for value, node in graph.makers.items():
            inputs = [v for v in node.inputs if not v.fixed]
            self._costs[value] = self._cost_through(node, inputs)
            self._behind[value] = frozenset(inputs).union(*(self.behind(v) for v in inputs))

    def _cost_through(self, node: Node, inputs: list[Value]) -> Cost:
        """What the cheapest way to the results of `node` costs, its own cost included."""
        costs = [self.cost(value) for value in inputs] or [NOTHING]
        # A difference (`gate * (f(x) - x)`) passes nothing on unchanged, whatever it is made from.
        before = max(costs) if node.op == "sub" else min(costs)
        return before.plus(node.cost)

    def cost(self, value: Value) -> Cost:
        """The Cost of the cheapest way to `value`; a block's identity path costs nothing."""
        return self._costs.get(value, NOTHING)

    def behind(self, value: Value) -> frozenset[Value]:
        """All values of this graph that `value` depends on, itself not among them."""
        return self._behind.get(value, frozenset())

    def detour(self, branch: Value, shortcut: Value) -> int:
        """Layers with a kernel on the shortcut, counted from the fork: none, or one that projects."""
        return self.cost(shortcut).kernels - self.cost(self._fork(branch, shortcut)).kernels

    def is_of_levels(self, branch: Value, shortcut: Value, maps: Maps) -> bool:
        """Whether the branch is made larger again, though the shortcut keeps its shape and had nothing to project."""
        fork = self._fork(branch, shortcut)
        beside = (self.behind(branch) | {branch}) - self.behind(fork) - {fork}
        makers = (self.graph.makers[value] for value in beside if value in self.graph.makers)
        return fork.shape == shortcut.shape and any(_enlarges(node, maps) for node in makers)

    def _fork(self, branch: Value, shortcut: Value) -> Value:
        """The last value that both come from."""
        forks = (self.behind(branch) | {branch}) & (self.behind(shortcut) | {shortcut})
        return max(forks, key=lambda value: value.order)

    def share_a_fork(self, branch: Value, shortcut: Value, maps: Maps, alone: bool = True) -> bool:
        """Both come from one value of this graph, and the branch (`alone`) from no other map that comes in.

        Adds that join maps of different origin (feature pyramids, fusions of several resolutions,
        roots of aggregation trees) have no fork in their own graph.
        """
        behind_branch = self.behind(branch) | {branch}
        behind_shortcut = self.behind(shortcut) | {shortcut}
        if not behind_branch & behind_shortcut:
            return False
        incoming = {value for value in behind_branch if value not in self.graph.makers and maps.grouped(value)}
        others = incoming - behind_shortcut
        return not alone or all(
            self._is_joined_first(value, behind_branch, incoming & behind_shortcut, maps) for value in others
        )

    def _is_joined_first(self, value: Value, within: frozenset[Value], shared: set[Value], maps: Maps) -> bool:
        """Whether a map that comes in is a part of one whose other part is the shortcut's: the block joins them first.

        Dual paths hand their map on in two parts, made together, of which one is added to and the other one grows.
        """
        makers = maps.graph.inner_makers
        shared = {part for part in shared if _are_made_together(part, value, makers)}
        takers = [node for node in value.users if node.graph is self.graph and within.intersection(node.outputs)]
        parts = [value for node in takers for value in node.inputs if node.op in ("cat", "concat")]
        return (
            bool(takers)
            and not shared.isdisjoint(parts)
            and all(
                node.op in ("cat", "concat") and all(part not in self.graph.makers for part in node.inputs)
                for node in takers
            )
        )


def _are_made_together(one: Value, other: Value, makers: Mapping[Value, Node]) -> bool:
    """Whether two values were made in the same forward."""
    return one in makers and other in makers and makers[one].graph is makers[other].graph


def _enlarges(node: Node, maps: Maps) -> bool:
    """Whether a step makes a larger map of a smaller one; what is only repeated for a product is none."""
    if len(node.inputs) != 1 or node.op == "expand":
        return False
    before, after = maps[node.inputs[0]], maps[node.outputs[0]]
    return before is not None and after is not None and before.pixels < after.pixels
