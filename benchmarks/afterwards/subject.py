"""The network that the tools are tried on, without attention and with it, and what it is trained with."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgeon

# Where each goes; hidden layers of more than one or two units, since a dead one would take a whole branch with it.
WHERE = {"cbam": "residual", "bam": "bottleneck", "se": "residual", "eca": "residual", "timm:se": "residual"}
OPTIONS = {"cbam": {"reduction": 4}, "bam": {"reduction": 4}, "se": {"reduction": 4}, "timm:se": {"rd_ratio": 0.25}}
STARTS = ("eager", "identity", "paper")
Batch = tuple[Tensor, Tensor]


def stock() -> nn.Module:
    """A ResNet of four blocks; the same weights at each call."""
    torch.manual_seed(0)
    # With its branches at zero, as timm starts them, no attention on a branch would act.
    return timm.create_model("test_resnet", num_classes=10, zero_init_last=False).eval()


def operated(attention: str, start: str, opened: int | None = None) -> nn.Module:
    """The same with attention; with a number for `opened` its gates act, each number with other weights."""
    model = stock()
    torch.manual_seed(1)
    options = OPTIONS.get(attention, {})
    surgeon.inject(model, attention, where=WHERE[attention], init=start, example_inputs=images(), **options)
    if opened is not None:
        torch.manual_seed(opened)
        for name, weight in surgeon.attention_parameters(model).items():
            # Gammas around 1, which is the published module.
            nn.init.normal_(weight.data, 1.0 if name.endswith("gamma") else 0.0, 0.3)
    return model


def images(seed: int = 0, count: int = 4) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def batches(count: int) -> list[Batch]:
    return [(images(seed), torch.arange(4) + seed) for seed in range(count)]


def step(model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
    """One step of training as everybody writes it."""
    x, labels = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x).float(), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()


def train(model: nn.Module, steps: list[Batch], optimizer: torch.optim.Optimizer | None = None) -> nn.Module:
    model.train()
    optimizer = optimizer or torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.1)
    for batch in steps:
        step(model, batch, optimizer)
    return model.eval()


def without_inplace(model: nn.Module) -> nn.Module:
    """The model with activations that leave their input alone, as some tools ask for."""
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model
