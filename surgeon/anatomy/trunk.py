"""The trunk of a network: the way of the feature map from the image to the pooling, step by step.

Only the steps at which the map changes its size matter: where it is made smaller, and where it
ends. They are looked for from the outside in. A module that makes the map smaller once is one step
(a stage that begins with a strided block: what goes into it is the end of the stage before); one
that does so several times is looked into.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from surgeon.anatomy.head import head
from surgeon.anatomy.joins import joined, whole
from surgeon.anatomy.nesting import is_in_a_branch
from surgeon.anatomy.residual import SEVERAL, blocks
from surgeon.anatomy.steps import Kind, Step
from surgeon.anatomy.strides import pools_by_pixel, takes_each_pixel

if TYPE_CHECKING:
    from surgeon.anatomy.maps import FeatureMap, Maps
    from surgeon.trace.graph import Graph, Node, Value


def trunk(graph: Graph, maps: Maps) -> list[Step]:
    """The steps of a whole network up to its smallest map; ended by its last map where nothing pools that."""
    found = steps(graph, maps)
    last = last_map(graph, maps)
    ends = any(step.kind == "pool" for step in found)
    if last is not None and not ends and not _is_joined_to_another(last, maps) and not _is_left_behind(last, graph):
        found.append(Step("pool", last, None, graph))
    return found


def last_map(graph: Graph, maps: Maps) -> Value | None:
    """The last map in a graph; where its modules return none, the last one inside them."""
    last = _latest((value for node in graph.nodes for value in node.outputs), maps)
    inner = (last_map(child, maps) for child in reversed(graph.children))
    return last or next((found for found in inner if found is not None), None)


def _is_joined_to_another(value: Value, maps: Maps) -> bool:
    """Whether the map goes into that of another image, where the network has several."""
    made = [made for node in value.users if not node.holds_steps for made in node.outputs]
    return bool(made) and not any(maps.is_of_image(value) for value in made)


def _is_left_behind(value: Value, graph: Graph) -> bool:
    """Whether a map is of the first layer, and several others see what is none: its tokens among others, say."""
    layers = [node for inner in graph.walk() for node in inner.nodes if node.child is None and node.cost.kernels]
    earlier = sum(any(made.order <= value.order for made in node.outputs) for node in layers)
    return earlier <= 1 < len(layers) - earlier


def up_to_head(found: list[Step], graph: Graph, maps: Maps) -> list[Step]:
    """The steps of a trunk, ended by the head of the network if it has one, which a decoder may precede."""
    end = head(graph, maps)
    if end is None:
        return found
    smaller = [step for step in found if step.kind == "smaller"]
    return [*smaller, Step("pool", end.features, end.node, end.node.graph)]


def steps(graph: Graph, maps: Maps) -> list[Step]:
    """All steps inside one graph, in order of execution; one that ends the map is the last."""
    # Asked again by each module around it: found once, and kept.
    if graph not in maps.steps:
        maps.steps[graph] = _steps(graph, maps)
    return list(maps.steps[graph])


def _steps(graph: Graph, maps: Maps) -> list[Step]:
    found: list[Step] = []
    end: list[Step] = []
    decoded: set[Value] = set()
    newest = -1
    for node in graph.nodes:
        value = entry(node, maps)
        if value is None:
            continue
        # What makes the image itself larger, before anything else, is no decoder.
        decodes = _is_neck(node, maps) or (bool(found) and _grows(node, maps.known(value), maps))
        if decodes:
            # The trunk ends here, unless all that a neck combines is pooled in the end.
            end = end or [*found, Step("pool", value, node, graph)]
        changes = _changes(graph, node, value, maps)
        if decodes or decoded.intersection(node.inputs):
            decoded.update(node.outputs)
        elif end and changes and changes[0].kind == "smaller" and changes[0].value.order >= end[-1].value.order:
            # Decoders at each size (UNet++): the trunk goes on beside them.
            end = []
        if changes and changes[-1].kind == "pool":
            if value.order < newest:
                continue  # an earlier map is pooled on the side
            return found + changes
        found = joined(found, node, maps) + changes
        newest = max([newest, *(output.order for output, _ in _spatial(node.outputs, maps))])
    return end or found


def entry(node: Node, maps: Maps) -> Value | None:
    """The map that a step works on: of several, the one made last, and no vector of 1 x 1 pixels."""
    value = _latest(node.inputs, maps)
    return maps.image if value is None and node.child and maps.is_laid_out_in(node.child) else value


def _latest(values: Iterable[Value], maps: Maps) -> Value | None:
    return max((value for value, _ in _spatial(values, maps)), key=lambda value: value.order, default=None)


def _spatial(values: Iterable[Value], maps: Maps) -> list[tuple[Value, FeatureMap]]:
    """The values that are maps of more than one pixel, each with its map."""
    known = ((value, maps[value]) for value in values)
    return [(value, found) for value, found in known if found and found.pixels > 1]


def _changes(graph: Graph, node: Node, value: Value, maps: Maps) -> list[Step]:
    """The changes of size in one step: none, the step itself, or those inside the module that it calls."""
    kind = _kind(node, maps.known(value), maps)
    if kind is None and not _may_hold_a_decoder(graph, node, maps):
        return []
    inner = steps(node.child, maps) if node.child else []
    smaller = [step for step in inner if step.kind == "smaller"]
    if kind is None:
        return smaller
    if kind == "pool":
        return inner if smaller else [Step(kind, value, node, graph)]
    if inner and not smaller and inner[-1].node and pools_by_pixel(inner[-1].node):
        # A head that pools a larger map than it was made for.
        return inner
    return smaller if _holds_stages(node, value, smaller, maps) else [Step(kind, whole(node, value, maps), node, graph)]


def _may_hold_a_decoder(graph: Graph, node: Node, maps: Maps) -> bool:
    """A module that takes one map, keeps its size and has more than half of the layers, in no branch of a block.

    Attention there may make the map smaller for itself alone.
    """
    is_most = node.child is not None and node.child.cost.kernels * 2 > graph.cost.kernels
    return is_most and len(_spatial(node.inputs, maps)) == 1 and not is_in_a_branch(node, maps)


def _holds_stages(node: Node, value: Value, inner: list[Step], maps: Maps) -> bool:
    """A module is more than one step if it shrinks the map by more than that, or runs a whole stage first.

    One with a decoder inside makes the map larger again before it returns it.
    """
    sizes = {maps.known(step.value).size for step in inner}
    made = [value for step in inner if step.node and _comes_back(node, maps) for value in step.node.outputs]
    smallest = min((found.size[-1] for _, found in _spatial([*node.outputs, *made], maps)), default=1)
    if maps.known(value).size[-1] >= 3 * smallest and len(sizes) > 1:
        return True
    if node.child is None or not inner or inner[0].value is value:
        return False
    return blocks(node.child, maps, until=inner[0].value) >= SEVERAL


def _comes_back(node: Node, maps: Maps) -> bool:
    """Whether a decoder runs in the module, behind what is made smaller there."""
    if node.child is None:
        return False
    ends = [step for step in steps(node.child, maps) if step.kind == "pool"]
    grown = any(step.node and _grows(step.node, maps.known(step.value), maps) for step in ends)
    return grown or any(_is_hourglass(inner, maps) for inner in node.child.nodes)


def _is_hourglass(node: Node, maps: Maps) -> bool:
    """Whether a module makes its map smaller and as large again."""
    value = entry(node, maps)
    if value is None or node.child is None or _kind(node, maps.known(value), maps):
        return False
    return _may_hold_a_decoder(node.graph, node, maps) and any(s.kind == "smaller" for s in steps(node.child, maps))


def _kind(node: Node, before: FeatureMap, maps: Maps) -> Kind | None:
    after = [found for _, found in _spatial(node.outputs, maps)]
    if "adaptive" in _operator(node):
        return "pool"
    if not after:
        return "pool" if all(_is_small(value, maps) for value in node.outputs) else None
    smallest = min(after, key=lambda found: found.pixels)
    # A convolution without padding loses a few pixels; that is no downsampling.
    if smallest.size[-1] * 3 > before.size[-1] * 2 or takes_each_pixel(node):
        return None
    return "pool" if pools_by_pixel(node) and not _is_padded(node, maps) else "smaller"


def _is_padded(node: Node, maps: Maps) -> bool:
    """Whether a step only takes off again what was laid around its map right before."""
    maker = maps.graph.inner_makers.get(node.inputs[0])
    return maker is not None and maker.op == "pad"


def _is_small(value: Value, maps: Maps) -> bool:
    """No room for pixels any more: a vector, one pixel, or a token or two."""
    found = maps[value]
    if len(value.shape) <= 2 or (found and found.pixels == 1):
        return True
    return value.shape[0] == maps.batch and value.shape[1] <= 2


def _operator(node: Node) -> str:
    """The operator that a step amounts to: its own name, or that of the one inside its module."""
    if node.child and len(node.child.nodes) == 1:
        return _operator(node.child.nodes[0])
    return "" if node.child else node.op


def _is_neck(node: Node, maps: Maps) -> bool:
    """A module that is handed a dict of maps, or a list of several sizes, combines them (FPN)."""
    if node.child is None:
        return False
    if _makes_a_pyramid(node, maps):
        return True
    if all(hasattr(arg, "shape") for arg in node.child.args):
        return False
    arguments = (*node.child.args, *node.child.kwargs.values())
    return any(_holds_several_maps(arg) for arg in arguments if isinstance(arg, (list, tuple, dict)))


def _makes_a_pyramid(node: Node, maps: Maps) -> bool:
    """Whether a module makes larger and smaller maps of several of one size, as decoders want them of a plain ViT."""
    before = {found.size[-1] for _, found in _spatial(node.inputs, maps)}
    after = {found.size[-1] for _, found in _spatial(node.outputs, maps)}
    is_given_several = len(_spatial(node.inputs, maps)) > 1 and len(before) == 1
    return is_given_several and bool(after) and max(after) > max(before) > min(after)


def _holds_several_maps(collection: list[Any] | tuple[Any, ...] | dict[Any, Any]) -> bool:
    sizes = [tuple(leaf.shape[-2:]) for leaf in _leaves(collection) if getattr(leaf, "ndim", 0) >= 4]
    return len(set(sizes)) > 1 or (isinstance(collection, dict) and len(sizes) > 1)


def _leaves(nest: Any) -> list[Any]:
    """What lies in nested lists, tuples and dicts."""
    if not isinstance(nest, (list, tuple, dict)):
        return [nest]
    return [leaf for part in (nest.values() if isinstance(nest, dict) else nest) for leaf in _leaves(part)]


def _grows(node: Node, before: FeatureMap, maps: Maps) -> bool:
    """An operator or a module that returns larger maps than it was given: a decoder begins."""
    after = [found for value in node.outputs if (found := maps[value])]
    return bool(after) and all(found.size[-1] * 2 >= before.size[-1] * 3 for found in after)
