"""Mean and maximum of a map over some of its axes, both at once.

In training the backward pass of `amax` looks for ties with five passes over the map. Here it asks for the
place of the maximum instead, and the gradient goes to the first of equals, as in the official code.
"""

import torch

from surgeon.attention.precision import mean, wide


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
