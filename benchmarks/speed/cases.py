"""What is timed: one module on one map, and whole networks; each beside its rivals and something to count in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import timm
import torch
import torchvision
from torch import Tensor, nn

import surgeon
from benchmarks.speed.rivals import Published, timms
from surgeon.attention import build

# The maps at which the stages of a ResNet-50 end, for images of 224 pixels.
STAGES = ((8, 256, 56, 56), (8, 512, 28, 28), (8, 1024, 14, 14), (8, 2048, 7, 7))
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NETWORKS = {
    "resnet18": lambda: torchvision.models.resnet18(),
    "resnet50": lambda: torchvision.models.resnet50(),
    "mobilenet_v3_large": lambda: torchvision.models.mobilenet_v3_large(),
    "convnext_tiny": lambda: torchvision.models.convnext_tiny(),
    "efficientnet_b0": lambda: timm.create_model("efficientnet_b0"),
}
BATCH, PIXELS = 8, 224


class Case(NamedTuple):
    """One thing that is timed, again and again in turn with the others of its group."""

    name: str
    forward: Callable[[], Any]
    step: Callable[[], Any]


def _compiled(name: str, channels: int) -> nn.Module:
    return surgeon.compile(build(name, channels, init="paper"))


# CBAM and its rivals, then SE and ECA for scale; all as their authors start them.
MODULES: dict[str, Callable[[int], nn.Module]] = {
    "CBAM, published": Published,
    "CBAM, timm": lambda channels: timms("cbam", channels),
    "CBAM, timm compiled": lambda channels: torch.compile(timms("cbam", channels)),
    "CBAM, surgeon": lambda channels: build("cbam", channels, init="paper"),
    "CBAM, surgeon compiled": lambda channels: _compiled("cbam", channels),
    "BAM, surgeon": lambda channels: build("bam", channels, init="paper"),
    "SE, timm": lambda channels: timms("se", channels),
    "SE, surgeon": lambda channels: build("se", channels, init="paper"),
    "SE, surgeon compiled": lambda channels: _compiled("se", channels),
    "ECA, timm": lambda channels: timms("eca", channels),
    "ECA, surgeon": lambda channels: build("eca", channels, init="paper"),
}


def module_cases(shape: tuple[int, ...], layout: str, dtype: str) -> Iterator[Case]:
    """A copy of the map, then each module on it: in eval mode without gradients, and a training step."""
    x, g = (_map(shape, layout, dtype) for _ in range(2))
    yield Case("a copy of the map", x.clone, lambda: (x.clone(), x.clone()))
    for name, make in MODULES.items():
        torch.manual_seed(0)
        yield _case(name, make(shape[1]).to(DTYPES[dtype]).to(memory_format=FORMATS[layout]), x, g)


def _map(shape: tuple[int, ...], layout: str, dtype: str) -> Tensor:
    return torch.randn(shape).to(DTYPES[dtype]).contiguous(memory_format=FORMATS[layout])


# With attention at the end of every residual block.
ATTENTION: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda model: model,
    "CBAM, published": lambda model: _with(model, Published),
    "CBAM, timm": lambda model: _with(model, lambda channels: timms("cbam", channels)),
    "CBAM, surgeon": lambda model: _with(model, "cbam"),
    "CBAM, surgeon compiled": lambda model: surgeon.compile(_with(model, "cbam")),
    "SE, timm": lambda model: _with(model, lambda channels: timms("se", channels)),
    "SE, surgeon": lambda model: _with(model, "se"),
    "SE, surgeon compiled": lambda model: surgeon.compile(_with(model, "se")),
}


def _with(model: nn.Module, attention: Any) -> nn.Module:
    return surgeon.inject(model, attention, init="paper")


def network_cases(name: str, layout: str) -> Iterator[Case]:
    """The network plain and with each attention."""
    x = _map((BATCH, 3, PIXELS, PIXELS), layout, "float32")
    for attention, put in ATTENTION.items():
        torch.manual_seed(0)
        yield _case(attention, put(NETWORKS[name]()).to(memory_format=FORMATS[layout]), x, None)


def _case(name: str, module: nn.Module, x: Tensor, g: Tensor | None) -> Case:
    given = x.detach().requires_grad_(g is not None)

    @torch.no_grad()
    def forward() -> Any:
        return module.eval()(x)

    def step() -> None:
        y = module.train()(given)
        y.backward(torch.ones_like(y) if g is None else g)
        given.grad = None
        module.zero_grad()

    return Case(name, forward, step)
