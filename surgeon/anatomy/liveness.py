"""Maps that the network's output never reads: once tokens are mixed no more, a class token counts alone."""

from surgeon.attention import Gate

# Operators that treat each token by itself: through them no pixel reaches the class token.
ALONE = {
    *("linear", "layer_norm", "rms_norm", "add", "sub", "mul", "div", "truediv", "neg", "dropout"),
    *("gelu", "relu", "silu", "sigmoid", "tanh", "hardswish", "leaky_relu"),
    *("clone", "contiguous", "to", "float", "type_as"),
}


def is_unused(value, scene):
    """True if the output does not depend on the pixels of the map `value`: where prefix tokens are picked out of it, or nobody takes it.

    False in any doubt: an operator that is not known to treat tokens one by one may mix them.
    """
    first = (value, scene.maps[value].prefix if scene.maps[value] else 0)
    waiting, seen = [first], {first}
    while waiting:
        value, prefix = waiting.pop()
        if value in scene.leaving or (not prefix and value in scene.used):
            return False
        # The steps inside a child take the same value as the call of it.
        for node in [] if not prefix else [user for user in value.users if not (user.child and user.child.nodes)]:
            rest = _becomes(node, prefix)
            if rest is not None and rest < 0:
                return False
            made = {(output, rest) for output in node.outputs if rest is not None} - seen
            waiting += made
            seen |= made
    return True


def _becomes(node, prefix):
    """How many tokens of no pixel lead what `node` makes of the map; None if no pixel is in it, -1 if they may have been mixed."""
    if set(node.outputs) <= set(node.inputs):
        return None  # handed on as it is, to the other users of the value
    if node.op in ALONE or (node.child and isinstance(node.child.module, Gate)):
        return prefix
    if node.op != "getitem" or len(node.constants) < 2 or node.constants[0] != slice(None):
        return -1
    chosen = node.constants[1]
    if isinstance(chosen, int):
        return None if 0 <= chosen < prefix else -1
    if not isinstance(chosen, slice) or chosen.step is not None:
        return -1
    start, stop = chosen.start or 0, chosen.stop
    if start >= prefix and stop is None:
        return 0
    return None if start >= 0 and stop is not None and 0 < stop <= prefix else -1
