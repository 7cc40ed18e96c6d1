"""Weights that others have published, under their own names, into an injected network."""

import torch

from surgeon.attention import attention_modules
from surgeon.attention.published_names import gammas, published_names
from surgeon.errors import BadFile, BadModel

# What data parallel and compiled training leave in front of every key.
WRAPPERS = ("module.", "_orig_mod.")
# What training scripts call the weights inside a checkpoint.
BOXES = ("state_dict", "model_state_dict", "model", "net")


def load_published(model, state_dict):
    """Load published weights into `model`, whose attention is in place, and say what went where.

    Keys of the official CBAM and BAM code (`module.layer1.0.cbam.ChannelGate.mlp.1.weight`) and of timm's
    attention (`layer1.0.se.fc1.weight`) find their gate. A gate that starts as the identity is opened (its
    gamma becomes 1), since the published module acts in full. Nothing is loaded unless everything is.

    Args:
        model: a network after `inject`, such as torchvision's resnet50 with cbam.
        state_dict: the published weights, or a checkpoint that holds them.

    Returns: `{published key: key in the model}`.

    Raises:
        BadFile: a tensor without a place, a place without a tensor, or another shape; all of them are named.

    >>> load_published(model, official)["layer1.0.cbam.ChannelGate.mlp.1.weight"]
    'layer1.0.cbam.channel.fc1.weight'
    """
    given, own = unwrapped(state_dict), model.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise BadModel("the model is on meta and holds no weights: model.to_empty(device='cpu') first.")
    gates = attention_modules(model)
    names = published_names(gates)
    placed = {key: (key, None) if key in own else names.get(key, (None, None)) for key in given}
    opened = gammas(gates)
    _complete(own, placed, optional=opened)
    values = {target: _fit(given[key], own[target], order) for key, (target, order) in placed.items()}
    _same_shapes(values, own)
    with torch.no_grad():
        for key, value in values.items():
            own[key].copy_(value)
        for key in opened - values.keys():
            own[key].fill_(1)
    return {key: target for key, (target, _) in placed.items()}


def unwrapped(state_dict):
    """The weights in a checkpoint, without the prefixes of data parallel and compiled models.

    >>> unwrapped({"epoch": 90, "state_dict": {"module.fc.bias": torch.zeros(1)}})
    {'fc.bias': tensor([0.])}
    """
    for box in BOXES:
        if isinstance(state_dict.get(box), dict):
            return unwrapped(state_dict[box])
    strange = [key for key, value in state_dict.items() if not isinstance(value, torch.Tensor)]
    if strange or not state_dict:
        raise BadFile(f"not a state dict: {strange[0]!r} is no tensor." if strange else "a state dict without weights.")
    for wrapper in WRAPPERS:
        if all(key.startswith(wrapper) for key in state_dict):
            return unwrapped({key.removeprefix(wrapper): value for key, value in state_dict.items()})
    return state_dict


def _complete(own, placed, *, optional):
    targets = [target for target, _ in placed.values() if target]
    extra = [key for key, (target, _) in placed.items() if not target]
    # Files from before torch 0.4.1 have no such counters.
    missing = own.keys() - optional - set(targets) - {key for key in own if key.endswith("num_batches_tracked")}
    twice = sorted({key for key in targets if targets.count(key) > 1}) if len(set(targets)) < len(targets) else []
    wrong = [("no place for", extra), ("no tensor for", sorted(missing)), ("two tensors for", twice)]
    if any(keys for _, keys in wrong):
        text = "; ".join(f"{what} {', '.join(keys)}" for what, keys in wrong if keys)
        raise BadFile(f"these weights are not this model's: {text}. Nothing was loaded.")


def _fit(tensor, target, order):
    """`tensor` as the model has it: a 1x1 convolution is a linear layer, and pooled maps come in some order."""
    tensor = tensor if order is None else tensor[:, order]
    short, long = sorted((tensor.shape, target.shape), key=len)
    is_padded = long[: len(short)] == short and all(n == 1 for n in long[len(short) :])
    return tensor.reshape(target.shape) if is_padded else tensor


def _same_shapes(values, own):
    wrong = [f"{key} is {_text(value)}, not {_text(own[key])}" for key, value in values.items() if value.shape != own[key].shape]
    if wrong:
        raise BadFile(f"these weights have other shapes than this model's: {'; '.join(wrong)}. Nothing was loaded.")


def _text(tensor):
    return " x ".join(map(str, tensor.shape)) or "a number"
