"""The arithmetic of attention: in float32 or better, whatever autocast and the model's own precision say.

A score is made of sums over C or over H x W, and in float16 a sum soon passes 65504. The gate of a
fresh module multiplies by 0, and 0 * inf is NaN: in the forward pass, and in the backward pass, where the
gradient of a small map is again a sum over a large one.
"""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Asked once: some releases of torch.compile can't trace the question. Of other devices it is asked each time.
AUTOCAST = {kind for kind in ("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "xla") if torch.amp.is_autocast_available(kind)}
# What a layer computes in; weights that are stored in fewer bits are the layer's own affair.
COMPUTED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype that scores of a map of `dtype` are computed in: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def mean(x, dims, keepdim=False):
    """The mean over `dims`, in float32 or better. The dtype is named only where it is another: not every exporter knows that argument."""
    dtype = wide(x.dtype)
    return x.mean(dims, keepdim) if dtype == x.dtype else x.mean(dims, keepdim, dtype=dtype)


def called(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """`layer(x)` in the layer's own dtype, returned in float32 or better.

    It is called as any layer is, so that hooks run, and an adapter or a quantized layer in its place acts.
    """
    dtype = dtype_of(layer, x)
    with _no_autocast(x):
        y = layer(_fit(x, dtype)).to(wide(x.dtype))
    # Two infinities of a layer that computes in float16 would meet as NaN.
    return _within(y, dtype) if dtype == torch.float16 else y


def normalized(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """`layer(x)`, a batch normalisation, as `called` does it, and where torch itself would raise.

    A batch that has one value per channel (the last, partial batch of an epoch) has no variance; here it is
    normalised by the running statistics, which stay as they are. Weights that were cast for the call (FSDP's mixed
    precision) are brought back to the precision of the statistics.
    """
    if layer.training and x.numel() == x.shape[1] and type(layer) in BATCH_NORMS:
        stats = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
        return F.batch_norm(x, *(stat.to(x.dtype) for stat in stats), eps=layer.eps)
    stats = getattr(layer, "running_mean", None)
    if stats is None or stats.dtype == dtype_of(layer, x):
        return called(layer, x)
    with _no_autocast(x):
        weights = {name: weight.to(stats.dtype) for name, weight in layer.named_parameters()}
        return functional_call(layer, weights, (_fit(x, stats.dtype),)).to(wide(x.dtype))


def dtype_of(layer: nn.Module, x: torch.Tensor) -> torch.dtype:
    """What `layer` computes in at this call: the dtype of its weight; float32, or float64 for a map of float64, where it has none.

    Asked each time, since FSDP casts the weights for the call. An adapter has its `weight` in the layer inside it; a
    pruned layer has the tensors that its weight is made of; a quantized one has none at all.
    """
    weight = layer._parameters.get("weight")
    if weight is not None and weight.dtype in COMPUTED:
        return weight.dtype
    tensors = [*layer.named_parameters(), *layer.named_buffers()]
    # The replicas of DataParallel have plain tensors for parameters.
    tensors += [(name, tensor) for name, tensor in vars(layer).items() if isinstance(tensor, torch.Tensor)]
    tensors.sort(key=lambda item: item[0].rpartition(".")[2] != "weight")
    return next((tensor.dtype for _, tensor in tensors if tensor.dtype in COMPUTED), wide(x.dtype))


def eased(scores, gamma, gain):
    """The published scale, sigmoid(scores), as far as `gamma` lets it act, or times `gain`; all of it where both are None.

    Exactly 1 at gamma 0, and at scores of 0 with a gain of 2. A map with an infinity in it has scores that are NaN;
    at the start even they leave it alone.
    """
    if gain is not None:
        return gain.to(scores.dtype) * torch.sigmoid(torch.nan_to_num(scores))
    scale = torch.sigmoid(scores)
    return scale if gamma is None else 1 + gamma.to(scale.dtype) * torch.nan_to_num(scale - 1)


def scaled(x, scale):
    """`x * scale` in the precision of `x`, with a gradient of `scale` that can't overflow.

    Autograd keeps `x` and `scale` and not the result, so the network may go on in place.
    """
    # A trace that is saved can hold operators alone.
    is_half = x.dtype == torch.float16 and not torch.jit.is_tracing()
    return _HalfProduct.apply(x, scale) if is_half else x * scale.to(x.dtype)


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


def _fit(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`x` in `dtype`, its largest numbers as large as that dtype can hold."""
    return x.to(dtype) if torch.promote_types(x.dtype, dtype) == dtype else _within(x.to(wide(x.dtype)), dtype).to(dtype)


def _within(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    limit = torch.finfo(dtype).max
    return x.clamp(-limit, limit)
