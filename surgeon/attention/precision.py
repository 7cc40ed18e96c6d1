"""The arithmetic of attention: in float32 or better, whatever autocast and the model's own precision say.

A score is made of sums over C or over H x W, and in float16 a sum soon passes 65504. The gate of a
fresh module multiplies by 0, and 0 * inf is NaN: in the forward pass, and in the backward pass, where the
gradient of a small map is again a sum over a large one.
"""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Asked once: some releases of torch.compile can't trace the question. Of other devices it is asked each time.
AUTOCAST = {kind for kind in ("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "xla") if torch.amp.is_autocast_available(kind)}
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def wide(dtype):
    """The dtype that scores of a map of `dtype` are computed in: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def mean(x, dims, keepdim=False):
    """The mean over `dims`, in float32 or better. The dtype is named only where it is another: not every exporter knows that argument."""
    dtype = wide(x.dtype)
    return x.mean(dims, keepdim) if dtype == x.dtype else x.mean(dims, keepdim, dtype=dtype)


def linear(layer, x):
    """`layer(x)` in the precision of `x`."""
    with _no_autocast(x):
        return F.linear(x, layer.weight.to(x.dtype), _cast(layer.bias, x.dtype))


def conv(layer, x):
    """`layer(x)`, a convolution of any number of dimensions, in the precision of `x`."""
    call = CONVOLUTIONS[x.dim() - 2]
    with _no_autocast(x):
        weight, bias = layer.weight.to(x.dtype), _cast(layer.bias, x.dtype)
        return call(x, weight, bias, layer.stride, layer.padding, layer.dilation)


def norm(layer, x):
    """`layer(x)`, a batch normalisation, returned in the precision of `x`.

    A batch that has one value per channel (the last, partial batch of an epoch) has no variance, and torch
    raises; here it is normalised by the running statistics, which stay as they are.
    """
    dtype = layer.weight.dtype
    if layer.training and x.numel() == x.shape[1] and type(layer) in BATCH_NORMS:
        stats = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
        return F.batch_norm(x, *(stat.to(x.dtype) for stat in stats), eps=layer.eps)
    if dtype == x.dtype:
        return layer(x)
    limit = torch.finfo(dtype).max
    return layer(x.clamp(-limit, limit).to(dtype)).to(x.dtype)


def eased(scale, gamma):
    """The published `scale` as far as `gamma` lets it act: exactly 1 at gamma 0; None lets all of it.

    A map with an infinity in it has scores that are NaN; at gamma 0 even they leave it alone.
    """
    return scale if gamma is None else 1 + gamma.to(scale.dtype) * torch.nan_to_num(scale - 1)


def scaled(x, scale):
    """`x * scale` in the precision of `x`, with a gradient of `scale` that can't overflow.

    Autograd keeps `x` and `scale` and not the result, so the network may go on in place.
    """
    return _HalfProduct.apply(x, scale) if x.dtype == torch.float16 else x * scale.to(x.dtype)


class _HalfProduct(torch.autograd.Function):
    """A float16 map times a float32 scale; the gradient of the scale is summed in float32."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, scale):
        return x * scale.to(x.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        x, scale = ctx.saved_tensors
        return grad * scale.to(x.dtype), (grad.to(scale.dtype) * x).sum_to_size(scale.shape)


def _no_autocast(x):
    kind = x.device.type
    # Asked first, so that an exported graph has no trace of autocast where none is in force.
    on = (kind in AUTOCAST or torch.amp.is_autocast_available(kind)) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if on else nullcontext()


def _cast(tensor, dtype):
    return None if tensor is None else tensor.to(dtype)
