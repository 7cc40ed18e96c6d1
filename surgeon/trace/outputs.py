"""What a network answers, and whether two answers are the same to the bit."""

import torch
from torch.utils._pytree import tree_flatten

from surgeon.trace.state import in_mode


@torch.no_grad()
def outputs(model, args, kwargs=None):
    """What `model` returns for one example in eval mode, as a flat list of tensors."""
    with in_mode(model, False):
        leaves, _ = tree_flatten(model(*args, **(kwargs or {})))
    return [leaf.clone() for leaf in leaves if isinstance(leaf, torch.Tensor)]


def same_bits(before, after):
    """Two lists of tensors hold the same numbers, NaN where NaN was."""
    return len(before) == len(after) and all(
        a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | (a.isnan() & b.isnan())).all()) for a, b in zip(before, after)
    )


def max_abs_diff(before, after):
    """The largest absolute difference between two lists of tensors."""
    return max((float((a - b).abs().max()) for a, b in zip(before, after) if a.numel() and a.is_floating_point()), default=0.0)
