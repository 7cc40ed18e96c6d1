"""A map of (N, C, *spatial) as one number per image and channel: (N, C), in float32 or float64.

Reductions over named axes, not pooling layers: they have no size of their own to bake into an exported
graph, and `AdaptiveMaxPool2d` can't be exported with a dynamic size at all.

Mean and maximum are taken both at once. In training the backward pass of `amax` looks for ties with five passes
over the map; here it asks for the place of the maximum instead, and the gradient goes to the first of equals, as
in the official code.
"""

import torch

from surgeon.attention.precision import mean, wide


def average(x):
    """The mean over all positions."""
    return mean(x, _spatial(x))


def maximum(x):
    """The largest value."""
    return x.amax(_spatial(x)).to(wide(x.dtype))


def power(x):
    """The root of the sum of squares (`LPPool2d(2, (H, W))`); its gradient at a map of zeros is 0."""
    return torch.linalg.vector_norm(x.to(wide(x.dtype)), dim=_spatial(x))


def log_sum_exp(x):
    """The logarithm of the sum of exponentials, a soft maximum."""
    return torch.logsumexp(x.to(wide(x.dtype)), dim=_spatial(x))


POOLS = {"avg": average, "max": maximum, "lp": power, "lse": log_sum_exp}


def pooled(x, names):
    """One (N, C) for each of the pools `names`, in their order."""
    found = {}
    if {"avg", "max"} <= set(names):
        found = {name: pool.flatten(1) for name, pool in zip(("avg", "max"), mean_and_max(x, _spatial(x)))}
    return [found[name] if name in found else POOLS[name](x) for name in names]


def _spatial(x):
    return tuple(range(2, x.dim()))


def as_map(scores, x):
    """Scores of (N, C) with as many axes as the map `x` has: (N, C, 1, ..., 1)."""
    return scores[(..., *[None] * (x.dim() - 2))]


def mean_and_max(x, dims):
    """Both of `x` over the axes `dims`, in float32 or float64.

    Args:
        dims: axes that follow each other; they stay, with length 1.
    """
    learns = x.requires_grad and torch.is_grad_enabled()
    # A compiler does better with the plain operators, whose backward passes it fuses; a trace needs one form.
    is_captured = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return _MeanAndMax.apply(x, dims) if learns and not is_captured else _both(x, dims)


def _both(x, dims):
    return mean(x, dims, keepdim=True), x.amax(dims, keepdim=True).to(wide(x.dtype))


class _MeanAndMax(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, dims):
        return _both(x, dims)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.dims = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, of_mean, of_max):
        (x,) = ctx.saved_tensors
        first, *_, last = (*ctx.dims, ctx.dims[-1])
        flat = x.flatten(first, last)
        places = flat.max(first, keepdim=True).indices
        grad = torch.empty_like(flat).copy_((of_mean / flat.shape[first]).flatten(first, last))
        grad.scatter_add_(first, places, of_max.flatten(first, last).to(x.dtype))
        return grad.unflatten(first, x.shape[first : last + 1]), None
