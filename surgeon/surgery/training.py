"""Training the attention of a network: what stays frozen, and who learns how fast."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from surgeon.attention import attention_modules, attention_parameters
from surgeon.errors import BadModel, BadOption, Unscheduled
from surgeon.outside.torch import BatchNorm, is_of_one_group
from surgeon.surgery import holders

NORMS = (BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
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
        if isinstance(module, BatchNorm) and learning.isdisjoint(module.parameters()):
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
        lr, attention_lr: learning rates. Where attention's is None, it is the network's for gates that learn fast
            enough with it (`init="eager"`, `"paper"`), and ten times that for those that hardly open with it: other
            exact starts, modules that surgeon did not write, what takes a module's place (docs/starts.md).
        optimizer: one that exists; what it holds already is left out, so that each group of the result can be
            given to its `add_param_group`.

    >>> groups = param_groups(model, lr=1e-4, attention_lr=1e-3, weight_decay=0.05)
    >>> [(group["lr"], group["weight_decay"]) for group in torch.optim.AdamW(groups).param_groups]
    [(0.0001, 0.0), (0.0001, 0.05), (0.001, 0.0), (0.001, 0.05)]
    """
    paces = {weight: gate.pace for gate in attention_modules(model).values() for weight in gate.parameters()}
    held = {weight for group in optimizer.param_groups for weight in group["params"]} if optimizer else set()
    spared = _spared(model)
    # By their pace, 0 for the network's own, and by whether they decay.
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for weight in model.parameters():
        if weight.requires_grad and weight not in held:
            groups.setdefault((paces.get(weight, 0.0), weight not in spared), []).append(weight)
    return [
        {"params": weights, "lr": _rate(pace, lr, attention_lr), "weight_decay": weight_decay if decays else 0.0}
        for (pace, decays), weights in sorted(groups.items(), key=lambda item: item[0])
    ]


def _rate(pace: float, lr: float, attention_lr: float | None) -> float:
    """The rate of weights that learn at `pace`, of the network's own at 0."""
    if not pace:
        return lr
    return pace * lr if attention_lr is None else attention_lr


def add_to(
    optimizer: Optimizer, model: nn.Module, *, lr: float | None = None, weight_decay: float | None = None
) -> Optimizer:
    """Give the attention of `model` to an optimizer that exists; returns the optimizer.

    The attention gets groups of its own with the settings of the optimizer's first group; gammas, norms and biases
    one without weight decay. What the optimizer holds already, and what is frozen, is left out, so that it can be
    called twice. A scheduler sets the rates of the groups that it was made with: make it after this.

    Args:
        lr: the attention's learning rate; None takes that of the first group, as it is now.
        weight_decay: None takes that of the first group.

    Raises:
        BadModel: no attention to train. BadOption: an optimizer that steps one group only (LBFGS).

    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> surgeon.inject(model, "cbam")
    >>> optimizer = surgeon.add_to(optimizer, model, lr=0.5)
    >>> [(group["lr"], group["momentum"]) for group in optimizer.param_groups]
    [(0.1, 0.9), (0.5, 0.9)]
    """
    attention = attention_parameters(model)
    if not attention:
        raise BadModel("this model has no attention to train; inject some first.")
    held = holders.weights_in(optimizer)
    new = {name: weight for name, weight in attention.items() if weight.requires_grad and weight not in held}
    first = optimizer.param_groups[0]
    if new and is_of_one_group(optimizer):
        kind = type(optimizer).__name__
        raise BadOption(f"{kind} steps one group of weights only: make it again, {kind}(model.parameters()).")
    settings = _settings(first, lr, weight_decay)
    spared = _spared(model) if settings.get("weight_decay") else set()
    schedulers = holders.schedulers_of(optimizer) if new else []
    for decays in (True, False):
        group = {name: weight for name, weight in new.items() if (weight not in spared) == decays}
        if group:
            _add_group(optimizer, group, settings if decays else settings | {"weight_decay": 0.0})
    for kind in {type(scheduler).__name__ for scheduler in schedulers}:
        warnings.warn(
            f"a {kind} was made for this optimizer before, and knows nothing of the attention's learning rate: "
            f"make the {kind} again, after surgeon.add_to.",
            Unscheduled,
            stacklevel=2,
        )
    return optimizer


def _settings(group: dict[str, Any], lr: float | None, weight_decay: float | None) -> dict[str, Any]:
    """The settings of a group, for another: a tensor among them (a learning rate) is its own there."""
    kept = {name: value for name, value in group.items() if name not in ("params", "param_names")}
    kept = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in kept.items()}
    if lr is not None:
        kept |= {name: lr for name in ("lr", "initial_lr") if name in kept}
    return kept if weight_decay is None else kept | {"weight_decay": weight_decay}


def _add_group(optimizer: Optimizer, weights: dict[str, nn.Parameter], settings: dict[str, Any]) -> None:
    is_named = "param_names" in optimizer.param_groups[0]
    optimizer.add_param_group({**settings, "params": [*(weights.items() if is_named else weights.values())]})
    if "state" not in vars(optimizer):
        # Another library's wrapper, which has handed the group on.
        return
    # Some (Adagrad) make what they keep of each weight when they are made, and at no other time.
    try:
        kind: Any = type(optimizer)
        kept = kind([{**settings, "params": [*weights.values()]}]).state
    except TypeError:
        return
    optimizer.state.update(kept)


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
