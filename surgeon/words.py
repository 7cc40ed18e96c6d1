"""The words of rules: each is one small function, and the table at the end is the vocabulary.

A word is asked about one candidate, a value of the observed run, and answers yes or no. `explain`
prints the answers one by one, so each says a single thing.
"""

from dataclasses import dataclass, field
from functools import cached_property

from surgeon.maps import Maps
from surgeon.trunk import trunk


@dataclass(frozen=True)
class Candidate:
    """A value that may be a site.

    value: the value itself. node: the step that makes it or takes it. graph: the forward that holds
    that step. names: what a rule called the parts of it (`branch`, `shortcut`).
    """

    value: object
    node: object
    graph: object
    names: dict = field(default_factory=dict, compare=False)


class Scene:
    """What a rule looks at: one observed run, the maps in it and its trunk."""

    def __init__(self, graph):
        self.graph = graph
        self.maps = Maps(graph)

    @cached_property
    def graphs(self):
        """All graphs, a parent before its children, in order of execution."""
        return list(self.graph.walk())

    @cached_property
    def steps(self):
        """The trunk, each size at which it shrinks or ends."""
        return trunk(self.graph, self.maps)

    @cached_property
    def stem(self):
        """All values made in the module that takes the image and does not hold the end of the trunk."""
        graph = self.graph
        while graph is not None:
            taker = next((node.child for node in graph.nodes if self.maps.image in node.inputs and node.child), None)
            values = {value for inner in (taker.walk() if taker else ()) for value in inner.makers}
            if self.steps[-1].value not in values:
                return values if not self._has_block(taker) else set()
            graph = taker
        return set()

    def _has_block(self, graph):
        nodes = (node for inner in (graph.walk() if graph else ()) for node in inner.nodes if node.op == "add")
        return any(is_residual(node, self) for node in nodes)

    def inside(self, path):
        """The scene narrowed to what the child `path` does; None if there is no such child."""
        full = f"{self.graph.path}.{path}".strip(".")
        graph = next((graph for graph in self.graphs if graph.path == full), None)
        return graph and Scene(graph)


def op(candidate, name, scene):
    """The operator that makes the value. Every spelling of an operator counts: `+`, `+=`, `torch.add` are `add`."""
    return candidate.node.op == name


def rank(candidate, kind, scene):
    """`map`: the value is a feature map, in whatever layout (NCHW, NHWC, tokens, video)."""
    return scene.maps[candidate.value] is not None


def operands(candidate, wanted, scene):
    """The two values that the operator takes, told apart by what is learned on the way to each.

    Binds the names, so that `splice` can use them.
    """
    return is_residual(candidate.node, scene) and all(
        scene.maps[candidate.names[name]] is not None for name, words in wanted.items() if words.rank == "map"
    )


def into(candidate, kind, scene):
    """What the value goes into: `smaller`, a step that makes the map smaller; `pool`, the step that ends it."""
    return any(step.kind == kind and step.value is candidate.value for step in scene.steps)


def beyond(candidate, what, scene):
    """`stem`: neither the image, nor the first size if that is at least half the image's, nor a size of the stem's.

    The stem is the module that takes the image; a network whose first module holds it all (`features`)
    has its stem inside that. Where residual blocks run in it, it is more than a stem.
    """
    if candidate.value is scene.maps.image:
        return False
    sizes = [scene.maps[step.value].size for step in scene.steps if step.value is not scene.maps.image]
    here = scene.maps[candidate.value].size
    if here == sizes[0] and here[-1] * 3 > scene.maps.image.shape[-1]:
        return False
    return candidate.value not in scene.stem


def value_is(candidate, what, scene):
    """`image`: what the network is given."""
    return candidate.value is scene.maps.image


def is_residual(node, scene):
    """Two maps of one shape are added, one of which has learned more on its way from where both come from."""
    if len(node.inputs) != 2 or node.child is not None:
        return False
    branch, shortcut = branch_and_shortcut(node)
    maps = scene.maps
    if maps[branch] is None or maps[shortcut] is None or branch.shape != shortcut.shape:
        return False
    ways = Ways.of(node.graph)
    return ways.cost(branch) > ways.cost(shortcut) and ways.share_a_fork(branch, shortcut, maps)


def branch_and_shortcut(node):
    """The operands of an add: the one with more learned on its shortest way is the branch."""
    ways = Ways.of(node.graph)
    first, second = node.inputs
    return (first, second) if ways.cost(first) > ways.cost(second) else (second, first)


class Ways:
    """The ways through one graph, from what comes in to each of its values."""

    @classmethod
    def of(cls, graph):
        if "ways" not in vars(graph):
            graph.ways = cls(graph)
        return graph.ways

    def __init__(self, graph):
        self.graph = graph
        self._costs, self._roots, self._behind = {}, {}, {}
        for value, node in graph.makers.items():
            inputs = [v for v in node.inputs if not v.fixed]
            nearest = min((self.cost(v) for v in inputs), default=(0, 0))
            self._costs[value] = tuple(map(sum, zip(nearest, node.cost)))
            self._behind[value] = frozenset(inputs).union(*(self.behind(v) for v in inputs))

    def cost(self, value):
        """What is learned on the cheapest way to `value`: a block with an identity path has one that costs nothing."""
        return self._costs.get(value, (0, 0))

    def behind(self, value):
        """All values of this graph that `value` depends on, itself not among them."""
        return self._behind.get(value, frozenset())

    def share_a_fork(self, branch, shortcut, maps):
        """Both come from one value of this graph, and the branch from no other map that comes in.

        Adds that join maps of different origin (feature pyramids, fusions of several resolutions,
        roots of aggregation trees) have no fork in their own graph.
        """
        behind_branch = self.behind(branch) | {branch}
        behind_shortcut = self.behind(shortcut) | {shortcut}
        if not behind_branch & behind_shortcut:
            return False
        incoming = {value for value in behind_branch if value not in self.graph.makers and maps[value]}
        return incoming <= behind_shortcut


WORDS = {"op": op, "rank": rank, "from": operands, "into": into, "beyond": beyond, "is": value_is}
