"""Weights that others have published, under their own names, into an injected network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.attention import attention_modules
from surgeon.attention.published_names import Place, gammas, published_names
from surgeon.checkpoints.prefix import unprefixed
from surgeon.errors import BadFile, BadModel

# What data parallel and compiled training leave in front of every key.
WRAPPERS = ("module.", "_orig_mod.")
# What training scripts call the weights inside a checkpoint.
NESTS = ("state_dict", "model_state_dict", "model", "net")


def load_published(model: nn.Module, state_dict: Mapping[str, Any]) -> dict[str, str]:
    """Load published weights into `model`, whose attention is in place, and say what went where.

    Keys of the official CBAM and BAM code (`module.layer1.0.cbam.ChannelGate.mlp.1.weight`) and of timm's
    attention (`layer1.0.se.fc1.weight`) find their gate. A gate that starts as the identity is opened (its
    gamma becomes 1), since the published module acts in full. Nothing is loaded unless everything is.

    Args:
        model: a network after `inject`, such as torchvision's resnet50 with cbam.
        state_dict: the published weights, or a checkpoint that holds them; of a trainer's (Lightning's), the network's.

    Returns: `{published key: key in the model}`.

    Raises:
        BadFile: a tensor without a place, a place without a tensor, or another shape; all of them are named.

    >>> load_published(model, official)["layer1.0.cbam.ChannelGate.mlp.1.weight"]
    'layer1.0.cbam.channel.fc1.weight'
    """
    published, own = unwrapped(state_dict), model.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise BadModel("the model is on meta and holds no weights: model.to_empty(device='cpu') first.")
    gates = attention_modules(model)
    if any(gate.folded for gate in gates.values()):
        raise BadModel("the attention here was folded, and has no place for published weights: load them, then fold.")
    opened = gammas(gates)
    names = published_names(gates)
    # A trainer keeps the network as an attribute (`net.`, `model.`); what else it has is no part of the network.
    published, _ = unprefixed(published, [*own, *names])
    places = _places(published, own, names)
    _complete(published, places, own, optional=opened)
    values = {place.key: _fit(published[key], own[place.key], place.order) for key, place in places.items()}
    _same_shapes(values, own)
    with torch.no_grad():
        for key, value in values.items():
            own[key].copy_(value)
        for key in opened - values.keys():
            own[key].fill_(1)
    return {key: place.key for key, place in places.items()}


def _places(published: Mapping[str, Tensor], own: Mapping[str, Tensor], names: Mapping[str, Place]) -> dict[str, Place]:
    """The place of each published tensor that has one: under its own key, or under the one that `names` gives."""
    places = {}
    for key in published:
        if key in own:
            places[key] = Place(key)
        elif key in names:
            places[key] = names[key]
    return places


def unwrapped(state_dict: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights in a checkpoint, without the prefixes of data parallel and compiled models.

    >>> unwrapped({"epoch": 90, "state_dict": {"module.fc.bias": torch.zeros(1)}})
    {'fc.bias': tensor([0.])}
    """
    for nest in NESTS:
        if isinstance(state_dict.get(nest), dict):
            return unwrapped(state_dict[nest])
    if not state_dict:
        raise BadFile("a state dict without weights.")
    for key, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise BadFile(f"not a state dict: {key!r} is no tensor.")
    for wrapper in WRAPPERS:
        if all(key.startswith(wrapper) for key in state_dict):
            return unwrapped({key.removeprefix(wrapper): value for key, value in state_dict.items()})
    return state_dict


def _complete(
    published: Mapping[str, Tensor],
    places: Mapping[str, Place],
    own: Mapping[str, Tensor],
    *,
    optional: Collection[str],
) -> None:
    """Refuse a tensor without a place, a place without a tensor, and a place with two."""
    taken = Counter(place.key for place in places.values())
    # Files from before torch 0.4.1 have no step counters.
    missing = {key for key in own.keys() - taken if not key.endswith("num_batches_tracked")}.difference(optional)
    wrong = {
        "no place for": [key for key in published if key not in places],
        "no tensor for": sorted(missing),
        "two tensors for": sorted(key for key, tensors in taken.items() if tensors > 1),
    }
    text = "; ".join(f"{what} {', '.join(keys)}" for what, keys in wrong.items() if keys)
    if text:
        raise BadFile(f"these weights are not this model's: {text}. Nothing was loaded.")


def _fit(tensor: Tensor, target: Tensor, order: list[int] | None) -> Tensor:
    """`tensor` in the shape of `target` where only sizes of 1 differ: a 1x1 convolution is a linear layer."""
    if order is not None:
        tensor = tensor[:, order]
    short, long = sorted((tensor.shape, target.shape), key=len)
    is_padded = long[: len(short)] == short and all(size == 1 for size in long[len(short) :])
    return tensor.reshape(target.shape) if is_padded else tensor


def _same_shapes(values: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    wrong = [
        f"{key} is {_text(value)}, not {_text(own[key])}"
        for key, value in values.items()
        if value.shape != own[key].shape
    ]
    if wrong:
        raise BadFile(f"these weights have other shapes than this model's: {'; '.join(wrong)}. Nothing was loaded.")


def _text(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
