"""What a network answers, and whether two answers are the same to the bit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.outside.torch import tree_flatten
from surgeon.trace.state import in_mode


@torch.no_grad()
def outputs(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> list[Tensor]:
    """What `model` returns for one example in eval mode, as a flat list of tensors."""
    with in_mode(model, False):
        leaves, _ = tree_flatten(model(*args, **(kwargs or {})))
    return [leaf.clone() for leaf in leaves if isinstance(leaf, Tensor)]


def same_bits(before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    """Two lists of tensors hold the same numbers, NaN where NaN was."""
    return len(before) == len(after) and all(map(_equal_bits, before, after))


def _equal_bits(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def max_abs_diff(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The largest absolute difference between two lists of tensors."""
    pairs = ((a, b) for a, b in zip(before, after) if a.numel() and a.is_floating_point())
    return max((float((a - b).abs().max()) for a, b in pairs), default=0.0)
