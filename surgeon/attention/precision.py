"""The arithmetic of attention: in float32 or better, whatever autocast and the model's own precision say.

A score is made of sums over C or over H x W, and in float16 a sum soon passes 65504. The gate of a
fresh module multiplies by 0, and 0 * inf is NaN: in the forward pass, and in the backward pass, where the
gradient of a small map is again a sum over a large one.
"""

from __future__ import annotations

import warnings
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from surgeon.attention.passes.capture import is_captured, is_transformed
from surgeon.attention.passes.dtypes import cast, no_autocast, score_dtype
from surgeon.errors import FrozenAtZero, NoDirection
from surgeon.outside.torch import is_functorch_wrapped_tensor, parameter_table

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# What a layer computes in; weights that are stored in fewer bits are the layer's own affair.
COMPUTED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def called(layer: nn.Module, x: Tensor, *, widen: bool = True) -> Tensor:
    """`layer(x)` in the layer's own dtype, returned in float32 or better.

    It is called as any layer is, so that hooks run, and an adapter or a quantized layer in its place acts.

    Args:
        widen: False leaves bfloat16 as it is, where what comes next can take that.
    """
    dtype = dtype_of(layer, x)
    with no_autocast(x):
        y: Tensor = layer(_fit(x, dtype))
    y = y if _stays(y, x) and not widen else cast(y, score_dtype(x.dtype))
    if x.requires_grad and not is_captured():
        _tell_if_without_direction(layer, x, y)
    # Two infinities of a layer that computes in float16 would meet as NaN.
    return _within(y, dtype) if dtype == torch.float16 else y


def _stays(y: Tensor, x: Tensor) -> bool:
    """Whether nothing is lost by leaving `y` in the precision of its layer: it has the range of what the map needs."""
    return y.dtype == torch.bfloat16 and score_dtype(x.dtype) == torch.float32


def normalized(layer: nn.Module, x: Tensor, *, widen: bool = True) -> Tensor:
    """`layer(x)`, a batch normalisation, as `called` does it, and where torch itself would raise.

    A batch that has one value per channel (the last, partial batch of an epoch) has no variance; here it is
    normalised by the running statistics, which stay as they are. Weights that were cast for the call (FSDP's mixed
    precision) are brought back to the precision of the statistics.
    """
    if x.requires_grad and not is_captured():
        _tell_if_frozen_at_zero(layer)
    if layer.training and x.numel() == x.shape[1] and _is_batch_norm(layer):
        return _by_statistics(layer, x)
    x = channel_last(x) if x.is_cuda and not is_captured() else x
    running_mean = getattr(layer, "running_mean", None)
    if running_mean is None or running_mean.dtype == dtype_of(layer, x):
        return called(layer, x, widen=widen)
    dtype = running_mean.dtype
    with no_autocast(x):
        weights = {name: weight.to(dtype) for name, weight in layer.named_parameters()}
        y: Tensor = functional_call(layer, weights, (_fit(x, dtype),))
        return y.to(score_dtype(x.dtype))


def channel_last(x: Tensor) -> Tensor:
    """`x`, and where it has one channel (N, 1, *spatial), as a view that says that channels come last.

    In the other order torch normalises each channel by one block of a GPU's: at 128 x 56 x 56 seven times as long.
    """
    return x.squeeze(1).unsqueeze(-1).movedim(-1, 1) if x.shape[1] == 1 and x.stride(1) != 1 else x


def _tell_if_frozen_at_zero(layer: nn.Module) -> None:
    """Warn of a norm whose weight is 0 and can't learn: it hands no gradient on.

    So it is where tools freeze the norms of a network (timm's `freeze_batch_norm_2d`) after attention was put in whose
    last norm starts at 0, as that of the released CBAM does.
    """
    weight = getattr(layer, "weight", None)
    # DTensors, fake tensors and those inside torch.func's transforms have no numbers to ask for.
    if not isinstance(weight, Tensor) or type(weight) not in (Tensor, nn.Parameter) or weight.is_meta:
        return
    is_wrapped = is_functorch_wrapped_tensor(weight)
    if is_wrapped or weight.requires_grad or vars(layer).get("was_asked"):
        return
    # Once for each norm: to ask, a GPU has to stop.
    vars(layer)["was_asked"] = True
    if not weight.any():
        warnings.warn(
            "a norm inside attention is frozen while its weight is 0, where all starts but init='identity' begin: the "
            "layers before it will never learn. Freeze the network's norms before surgeon.inject, or inject with "
            "init='identity', whose norms begin at 1.",
            FrozenAtZero,
            stacklevel=2,
        )


def _tell_if_without_direction(layer: nn.Module, x: Tensor, y: Tensor) -> None:
    """Warn of a weight of 0 that is divided by its own norm: weight and spectral norms of layers that start at 0."""
    # What has its weight itself is no such layer, and a number of a plain tensor alone can be asked for.
    if parameter_table(layer).get("weight") is not None or type(y) is not Tensor or y.is_meta or is_transformed():
        return
    if vars(layer).get("was_asked"):
        return
    vars(layer)["was_asked"] = True
    if y.isnan().any() and x.isfinite().all():
        warnings.warn(
            "a layer inside attention gives NaN: its weight of 0, as all starts but init='identity' have it, is divided"
            " by its own norm (weight_norm, spectral_norm). Put such norms on other layers, or inject with"
            " init='identity'.",
            NoDirection,
            stacklevel=2,
        )


def _is_batch_norm(layer: nn.Module) -> TypeGuard[BatchNorm]:
    return type(layer) in BATCH_NORMS


def _by_statistics(layer: BatchNorm, x: Tensor) -> Tensor:
    """`x` normalised by the running statistics, in its own precision."""
    tensors = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    running_mean, running_var, weight, bias = (None if t is None else t.to(x.dtype) for t in tensors)
    return F.batch_norm(x, running_mean, running_var, weight, bias, eps=layer.eps)


def dtype_of(layer: nn.Module, x: Tensor) -> torch.dtype:
    """What `layer` computes in at this call: the dtype of its weight; where it has none, float32, or float64 like `x`.

    Looked up each time, since FSDP casts the weights for the call. An adapter has its `weight` in the layer inside
    it; a pruned layer has the tensors that its weight is made of; a quantized one has none at all.
    """
    weight = parameter_table(layer).get("weight")
    if weight is not None and weight.dtype in COMPUTED:
        return weight.dtype
    tensors: list[tuple[str, Tensor]] = [*layer.named_parameters(), *layer.named_buffers()]
    # The replicas of DataParallel have plain tensors for parameters.
    tensors += [(name, tensor) for name, tensor in vars(layer).items() if isinstance(tensor, Tensor)]
    # Weights first, at any depth.
    tensors.sort(key=lambda item: item[0].rpartition(".")[2] != "weight")
    return next((tensor.dtype for _, tensor in tensors if tensor.dtype in COMPUTED), score_dtype(x.dtype))


def _fit(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` in `dtype`, its largest numbers as large as that dtype can hold."""
    if x.dtype == dtype:
        return x
    if torch.promote_types(x.dtype, dtype) == dtype:
        return x.to(dtype)
    return _within(x.to(score_dtype(x.dtype)), dtype).to(dtype)


def _within(x: Tensor, dtype: torch.dtype) -> Tensor:
    limit = torch.finfo(dtype).max
    # As `clamp`, whose way back takes four operators where this takes one.
    return F.hardtanh(x, -limit, limit)
