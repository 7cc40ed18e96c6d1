"""Changing the weights and the optimizers inside a checkpoint, and nothing else in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from surgeon.checkpoints import optimizer
from surgeon.checkpoints.checkpoint import Checkpoint, Nest, inside

ChangeWeights = Callable[[dict[str, Any]], dict[str, Any]]
ChangeOptimizer = Callable[[optimizer.State], optimizer.State]


def changed(checkpoint: Checkpoint, *, weights: ChangeWeights, state: ChangeOptimizer | None) -> dict[str, Any]:
    """All that the file of `checkpoint` holds, with changed copies in place of its state dicts and optimizers.

    Args:
        weights: makes the new state dict from the old one.
        state: makes an optimizer's new state from its old one; None leaves optimizers out.
    """
    whole = checkpoint.whole
    if whole is None or checkpoint.nest == ((),):
        return weights(checkpoint.tensors)
    for nest in checkpoint.nest:
        whole = _replaced(whole, nest, weights(inside(whole, nest)))
    return _with_optimizers(whole, state)


def has_optimizer(checkpoint: Checkpoint) -> bool:
    """Whether the file holds an optimizer's state."""
    return isinstance(checkpoint.whole, dict) and any(_states(entry) for entry in checkpoint.whole.values())


def _replaced(whole: Any, nest: Nest, value: dict[str, Any]) -> Any:
    """`whole` with `value` at the keys `nest`; the dicts on the way are copied."""
    if not nest:
        return value
    return {**whole, nest[0]: _replaced(whole[nest[0]], nest[1:], value)}


def _states(entry: object) -> list[optimizer.State]:
    """The optimizer states in one entry of a file: the entry itself, or Lightning's list of them."""
    if optimizer.is_state(entry):
        return [entry]
    if isinstance(entry, list) and all(optimizer.is_state(part) for part in entry):
        return entry
    return []


def _with_optimizers(whole: dict[str, Any], change: ChangeOptimizer | None) -> dict[str, Any]:
    """`whole` with every optimizer state changed, or left out where `change` is None."""
    entries = {}
    for key, entry in whole.items():
        states = _states(entry)
        if not states:
            entries[key] = entry
        elif change is not None:
            entries[key] = [change(state) for state in states] if isinstance(entry, list) else change(entry)
    return entries


def without_optimizers(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint without its optimizers' states."""
    if not has_optimizer(checkpoint):
        return checkpoint
    return replace(checkpoint, whole=_with_optimizers(checkpoint.whole, None))
