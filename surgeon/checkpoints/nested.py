"""Changing the weights and the optimizers inside a checkpoint, and nothing else in it."""

from dataclasses import replace

from surgeon.checkpoints import optimizer
from surgeon.checkpoints.checkpoint import inside


def changed(checkpoint, *, weights, state):
    """All that the file of `checkpoint` holds, changed copies in the place of its state dicts and optimizers.

    Args:
        weights: callable state dict -> state dict.
        state: callable optimizer state -> optimizer state; None leaves optimizers out.
    """
    whole = checkpoint.whole
    if whole is None or checkpoint.nest == ((),):
        return weights(checkpoint.tensors)
    for nest in checkpoint.nest:
        whole = _replaced(whole, nest, weights(inside(whole, nest)))
    return _optimizers(whole, state)


def has_optimizer(checkpoint):
    """Whether the file holds an optimizer's state."""
    return isinstance(checkpoint.whole, dict) and any(_states(value) for value in checkpoint.whole.values())


def _replaced(whole, nest, value):
    """`whole` with `value` at the keys `nest`, its dicts copied on the way."""
    if not nest:
        return value
    return {**whole, nest[0]: _replaced(whole[nest[0]], nest[1:], value)}


def _states(value):
    """The optimizer states in one entry: itself, or Lightning's list of them."""
    if optimizer.is_state(value):
        return [value]
    return value if isinstance(value, list) and value and all(map(optimizer.is_state, value)) else []


def _optimizers(whole, state):
    """`whole` with every optimizer state changed, or left out where `state` is None."""
    made = {}
    for key, value in whole.items():
        found = _states(value)
        if not found:
            made[key] = value
        elif state is not None:
            made[key] = [state(one) for one in found] if isinstance(value, list) else state(value)
    return made


def without_optimizers(checkpoint):
    """The checkpoint, its optimizers' states left out."""
    if not has_optimizer(checkpoint):
        return checkpoint
    return replace(checkpoint, whole=_optimizers(checkpoint.whole, None))
