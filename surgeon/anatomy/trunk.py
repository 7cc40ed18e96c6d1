"""The trunk of a network: the way of the feature map from the image to the pooling, step by step.

Only the steps at which the map changes its size matter: where it is made smaller, and where it
ends. They are looked for from the outside in. A module that makes the map smaller once is one step
(a stage that begins with a strided block: what goes into it is the end of the stage before); one
that does so several times is looked into.
"""

from dataclasses import dataclass

from surgeon.anatomy.residual import blocks

# As many residual blocks in a row are a stage; one or two may be part of how a module makes its map smaller.
A_STAGE = 3


@dataclass(frozen=True)
class Step:
    """A change of size: `value` goes into `node` of `graph`, and comes out `smaller` or not at all (`pool`)."""

    kind: str
    value: object
    node: object
    graph: object

    @property
    def taker(self):
        """What takes the map, in words."""
        return taker(self.node)


def taker(node):
    """What a step is, in words: a module by its path, an operator by its name; nothing takes what the network returns."""
    if node is None:
        return "the output of the network"
    return node.child.path if node.child else node.op


def trunk(graph, maps):
    """The steps of a whole network, ended by its last map where nothing pools that."""
    found = steps(graph, maps)
    values = [value for node in graph.nodes for value in node.outputs if maps[value] and maps[value].pixels > 1]
    if values and not any(step.kind == "pool" for step in found):
        found.append(Step("pool", max(values, key=lambda value: value.order), None, graph))
    return found


def steps(graph, maps):
    """All steps inside one graph, in order of execution; one that ends the map is the last."""
    found, end, newest = [], None, -1
    for node in graph.nodes:
        value = entry(node, maps)
        if value is None:
            continue
        # An image that is made larger before anything else is no decoder's.
        if _is_neck(node, maps) or (found and _grows(node, maps[value], maps)):
            # The trunk ends here, unless all that a neck combines is pooled in the end.
            end = end or [*found, Step("pool", value, node, graph)]
        taken = _step(graph, node, value, maps)
        if taken and taken[-1].kind == "pool":
            if value.order < newest:
                continue  # an earlier map is pooled on the side
            return found + taken
        found += taken
        newest = max([newest, *(v.order for v in node.outputs if maps[v] and maps[v].pixels > 1)])
    return end or found


def entry(node, maps):
    """The map that a step works on: of several, the one made last, and no vector of 1 x 1 pixels."""
    spatial = [value for value in node.inputs if maps[value] and maps[value].pixels > 1]
    return max(spatial, key=lambda value: value.order, default=None)


def _step(graph, node, value, maps):
    kind = _kind(node, maps[value], maps)
    if kind is None:
        return []
    inner = steps(node.child, maps) if node.child else []
    smaller = [step for step in inner if step.kind == "smaller"]
    if kind == "pool":
        return inner if smaller else [Step(kind, value, node, graph)]
    return smaller if _holds_stages(node, value, smaller, maps) else [Step(kind, value, node, graph)]


def _holds_stages(node, value, inner, maps):
    """A module is more than one step if it shrinks the map by more than that, or runs a whole stage first."""
    sizes = {maps[step.value].size for step in inner}
    smallest = min((maps[v].size[-1] for v in node.outputs if maps[v] and maps[v].pixels > 1), default=1)
    if maps[value].size[-1] >= 3 * smallest and len(sizes) > 1:
        return True
    return bool(inner) and inner[0].value is not value and blocks(node.child, maps, until=inner[0].value) >= A_STAGE


def _kind(node, before, maps):
    after = [maps[value] for value in node.outputs if maps[value] and maps[value].pixels > 1]
    if "adaptive" in _operator(node):
        return "pool"
    if not after:
        return "pool" if all(_is_small(value, maps) for value in node.outputs) else None
    smallest = min(after, key=lambda m: m.pixels)
    # A convolution without padding loses a few pixels; that is no downsampling.
    return "smaller" if smallest.size[-1] * 3 <= before.size[-1] * 2 else None


def _is_small(value, maps):
    """No room for pixels any more: a vector, one pixel, or a token or two."""
    found = maps[value]
    return len(value.shape) <= 2 or bool(found and found.pixels == 1) or (value.shape[0] == maps.batch and value.shape[1] <= 2)


def _operator(node):
    """The operator that a step amounts to: its own name, or that of the one inside its module."""
    if node.child and len(node.child.nodes) == 1:
        return _operator(node.child.nodes[0])
    return "" if node.child else node.op


def _is_neck(node, maps):
    """A module that is handed a dict of maps, or a list of several sizes, combines them (FPN)."""
    if node.child is None or all(hasattr(arg, "shape") for arg in node.child.args):
        return False
    collections = [arg for arg in (*node.child.args, *node.child.kwargs.values()) if isinstance(arg, (list, tuple, dict))]
    spatial = [[tuple(leaf.shape[-2:]) for leaf in _leaves(c) if getattr(leaf, "ndim", 0) >= 4] for c in collections]
    return any(len(set(sizes)) > 1 or (isinstance(c, dict) and len(sizes) > 1) for c, sizes in zip(collections, spatial))


def _leaves(nest):
    """What lies in nested lists, tuples and dicts."""
    if not isinstance(nest, (list, tuple, dict)):
        return [nest]
    return [leaf for part in (nest.values() if isinstance(nest, dict) else nest) for leaf in _leaves(part)]


def _grows(node, before, maps):
    """An operator or a module that returns larger maps than it was given: a decoder begins."""
    after = [maps[value] for value in node.outputs if maps[value]]
    return bool(after) and all(m.size[-1] * 2 >= before.size[-1] * 3 for m in after)
