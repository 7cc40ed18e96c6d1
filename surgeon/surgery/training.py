"""Training the attention of a network: what stays frozen, and who learns how fast."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer

from surgeon.attention import attention_modules, attention_parameters
from surgeon.errors import BadModel

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
# What torchvision and other networks without `get_classifier` call their head.
HEADS = ("fc", "classifier", "head", "heads")

Model = TypeVar("Model", bound=nn.Module)


def freeze(model: Model, head: bool | str = False) -> Model:
    """Freeze all of `model` but its attention, and its head where `head` is True. Returns `model`.

    Frozen weights lose their gradient, so an optimizer that already holds them passes them by, weight decay
    and momentum included. Frozen batch norms are put into eval mode, or their statistics would move:
    `model.train()` wakes them, so freeze again after it.

    Args:
        head: True leaves the classifier trainable; a path such as `"fc"` says where it is.

    >>> model = freeze(model, head=True)
    >>> [name for name, weight in model.fc.named_parameters() if weight.requires_grad]
    ['weight', 'bias']
    """
    learning = set(attention_parameters(model).values())
    if not learning:
        raise BadModel("this model has no attention to train; inject some first.")
    if head is not False:
        learning |= set(_head(model, head).parameters())
    for weight in model.parameters():
        weight.requires_grad_(weight in learning)
        if weight not in learning:
            weight.grad = None
    inside = {module for gate in attention_modules(model).values() for module in gate.modules()}
    for module in set(model.modules()) - inside:
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and learning.isdisjoint(module.parameters()):
            module.eval()
    return model


def param_groups(
    model: nn.Module,
    *,
    lr: float,
    attention_lr: float | None = None,
    weight_decay: float = 0.0,
    optimizer: Optimizer | None = None,
) -> list[dict[str, Any]]:
    """Groups of the trainable weights of `model` for an optimizer, attention apart from the rest.

    Gammas, norms, biases and what timm's `no_weight_decay` names have no weight decay.

    Args:
        lr, attention_lr: learning rates; attention's is the network's where it is None.
        optimizer: one that exists; what it holds already is left out, so that each group of the result can be
            given to its `add_param_group`.

    >>> groups = param_groups(model, lr=1e-4, attention_lr=1e-3, weight_decay=0.05)
    >>> [(group["lr"], group["weight_decay"]) for group in torch.optim.AdamW(groups).param_groups]
    [(0.0001, 0.0), (0.0001, 0.05), (0.001, 0.0), (0.001, 0.05)]
    """
    attention = set(attention_parameters(model).values())
    held = {weight for group in optimizer.param_groups for weight in group["params"]} if optimizer else set()
    spared = _spared(model)
    # By whether the weights are attention's, and whether they decay.
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for weight in model.parameters():
        if weight.requires_grad and weight not in held:
            groups.setdefault((weight in attention, weight not in spared), []).append(weight)
    rates = {True: lr if attention_lr is None else attention_lr, False: lr}
    return [
        {"params": weights, "lr": rates[is_attention], "weight_decay": weight_decay if decays else 0.0}
        for (is_attention, decays), weights in sorted(groups.items(), key=lambda item: item[0])
    ]


def _spared(model: nn.Module) -> set[nn.Parameter]:
    """The weights without decay: vectors and numbers (biases, gammas), norms, and what the network asks for."""
    no_weight_decay = getattr(model, "no_weight_decay", None)
    names: set[str] = set() if no_weight_decay is None else set(no_weight_decay())
    spared = {weight for name, weight in model.named_parameters() if weight.dim() <= 1 or name in names}
    norms = [module for module in model.modules() if isinstance(module, NORMS)]
    return spared.union(*(module.parameters(recurse=False) for module in norms))


def _head(model: nn.Module, head: bool | str) -> nn.Module:
    if isinstance(head, str):
        found = dict(model.named_modules()).get(head)
        if found is None:
            raise BadModel(f"there is no module {head!r} in this {type(model).__name__} to be its head.")
        return found
    get_classifier = getattr(model, "get_classifier", None)
    if get_classifier is not None:
        classifier: nn.Module | tuple[nn.Module, ...] = get_classifier()
        return nn.ModuleList(classifier) if isinstance(classifier, tuple) else classifier
    for name in HEADS:
        child = getattr(model, name, None)
        if isinstance(child, nn.Module):
            return child
    raise BadModel(f"can't tell the head of this {type(model).__name__}: say where it is, as in head='fc'.")
