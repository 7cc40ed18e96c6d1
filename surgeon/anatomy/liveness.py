"""Maps that the network's output never reads: behind the last mixing of tokens, only a class token counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from surgeon.attention import Gate

if TYPE_CHECKING:
    from surgeon.anatomy.scene import Scene
    from surgeon.trace.graph import Node, Value

# Operators that treat each token by itself: through them no pixel reaches the class token.
ALONE = {
    *("linear", "layer_norm", "rms_norm", "add", "sub", "mul", "div", "truediv", "neg", "dropout"),
    *("gelu", "relu", "silu", "sigmoid", "tanh", "hardswish", "leaky_relu"),
    *("clone", "contiguous", "to", "float", "type_as"),
}
# In place of a number of prefix tokens: pixels and prefix may have been mixed.
MIXED = -1


def is_unused(value: Value, scene: Scene) -> bool:
    """True if the output does not depend on the pixels of the map `value`.

    That is so where only its prefix tokens are picked out of it, or where nothing takes it. False if
    in doubt: an operator that is not known to treat tokens one by one may mix them.
    """
    found = scene.maps[value]
    first = (value, found.prefix if found else 0)
    waiting, reached = [first], {first}
    while waiting:
        value, prefix = waiting.pop()
        if value in scene.leaving or (not prefix and value in scene.used):
            return False
        for node in _users(value) if prefix else ():
            remaining = _prefix_behind(node, prefix)
            if remaining == MIXED:
                return False
            results = {(output, remaining) for output in node.outputs if remaining is not None}
            waiting += results - reached
            reached |= results
    return True


def _users(value: Value) -> list[Node]:
    """The steps that take `value`, without calls of children: the steps inside those take it as well."""
    return [node for node in value.users if not node.holds_steps]


def _prefix_behind(node: Node, prefix: int) -> int | None:
    """How many prefix tokens lead what `node` makes of the map; None if no pixel is left in it, or MIXED."""
    if set(node.outputs) <= set(node.inputs):
        return None  # handed on as it is, to the other users of the value
    if node.op in ALONE or (node.child and isinstance(node.child.module, Gate)):
        return prefix
    if node.op != "getitem" or len(node.constants) < 2 or node.constants[0] != slice(None):
        return MIXED
    chosen = node.constants[1]
    if isinstance(chosen, int):
        return None if 0 <= chosen < prefix else MIXED
    return _prefix_of(chosen, prefix) if isinstance(chosen, slice) and chosen.step is None else MIXED


def _prefix_of(chosen: slice, prefix: int) -> int | None:
    """The same for a slice along the axis of tokens: all pixels, prefix tokens alone, or some of both."""
    start, stop = chosen.start or 0, chosen.stop
    if start >= prefix and stop is None:
        return 0
    return None if start >= 0 and stop is not None and 0 < stop <= prefix else MIXED
