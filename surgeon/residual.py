"""Residual blocks: which of all the additions in a network joins a branch to its shortcut."""


def blocks(graph, maps, until=None):
    """How many residual blocks run in `graph`; before the value `until`, if one is given."""
    nodes = (node for inner in graph.walk() for node in inner.nodes if node.op == "add")
    early = (node for node in nodes if until is None or node.outputs[0].order <= until.order)
    return sum(is_residual(node, maps) for node in early)


def is_residual(node, maps, outside=False):
    """Two maps of one shape are added, one of which has learned more on its way from where both come from.

    With `outside`, the other one is what the forward was handed.
    """
    if len(node.inputs) != 2 or node.child is not None:
        return False
    branch, shortcut = branch_and_shortcut(node)
    if maps.grouped(branch) is None or maps.grouped(shortcut) is None or branch.shape != shortcut.shape:
        return False
    ways = Ways.of(node.graph)
    if not ways.cost(branch) > ways.cost(shortcut):
        return False
    if outside:
        return shortcut not in node.graph.makers
    return ways.share_a_fork(branch, shortcut, maps) and ways.detour(branch, shortcut) < 2


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
            # A difference (`gate * (f(x) - x)`) passes nothing on unchanged, whatever it is made from.
            cheapest = max if node.op == "sub" else min
            nearest = cheapest((self.cost(v) for v in inputs), default=(0, 0))
            self._costs[value] = tuple(map(sum, zip(nearest, node.cost)))
            self._behind[value] = frozenset(inputs).union(*(self.behind(v) for v in inputs))

    def cost(self, value):
        """What is learned on the cheapest way to `value`: a block with an identity path has one that costs nothing."""
        return self._costs.get(value, (0, 0))

    def behind(self, value):
        """All values of this graph that `value` depends on, itself not among them."""
        return self._behind.get(value, frozenset())

    def detour(self, branch, shortcut):
        """Layers with a kernel on the shortcut, counted from the fork: none, or one that projects."""
        forks = (self.behind(branch) | {branch}) & (self.behind(shortcut) | {shortcut})
        fork = max(forks, key=lambda value: value.order)
        return self.cost(shortcut)[0] - self.cost(fork)[0]

    def share_a_fork(self, branch, shortcut, maps):
        """Both come from one value of this graph, and the branch from no other map that comes in.

        Adds that join maps of different origin (feature pyramids, fusions of several resolutions,
        roots of aggregation trees) have no fork in their own graph.
        """
        behind_branch = self.behind(branch) | {branch}
        behind_shortcut = self.behind(shortcut) | {shortcut}
        if not behind_branch & behind_shortcut:
            return False
        incoming = {value for value in behind_branch if value not in self.graph.makers and maps.grouped(value)}
        return incoming <= behind_shortcut
