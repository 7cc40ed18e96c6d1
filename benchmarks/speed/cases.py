"""What is timed: one module on one map, and whole networks; each beside its rivals and something to count in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import timm
import torch
import torchvision
from torch import Tensor, nn

import surgeon
from benchmarks.speed.rivals import Floor, Published, timms
from surgeon.attention import build

# The maps at which the stages of a ResNet-50 end, for images of 224 pixels.
STAGES = ((256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7))
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
NETWORKS = {
    "resnet18": lambda: torchvision.models.resnet18(),
    "resnet50": lambda: torchvision.models.resnet50(),
    "mobilenet_v3_large": lambda: torchvision.models.mobilenet_v3_large(),
    "convnext_tiny": lambda: torchvision.models.convnext_tiny(),
    "efficientnet_b0": lambda: timm.create_model("efficientnet_b0"),
}
PIXELS = 224


# Whether a case, given with its name, is to be timed.
Wanted = Callable[[tuple[str, Any]], bool]


class Group(NamedTuple):
    """What is timed in turn: on a map of that shape (N, C, H, W), or whole networks on a batch of images.

    graph: whether a GPU is told once, by a CUDA graph, and not for each operator.
    place: where attention goes in a network.
    growth: whether it is there to be seen beside others like it, with another batch or another place.
    """

    shape: tuple[int, ...]
    layout: str
    dtype: str
    device: str = "cpu"
    network: str = ""
    graph: bool = False
    place: str = "residual"
    growth: bool = False

    @property
    def kind(self) -> str:
        return "growth" if self.growth else "networks" if self.network else "modules"

    @property
    def name(self) -> str:
        if self.network:
            return f"{self.network} {self.place}" if self.growth else self.network
        return " x ".join(map(str, self.shape))

    @property
    def where(self) -> str:
        return f"{self.device} graph" if self.graph else self.device

    def map(self) -> Tensor:
        x = torch.randn(self.shape, device=self.device, dtype=DTYPES[self.dtype])
        return x.contiguous(memory_format=FORMATS[self.layout])

    def put(self, module: nn.Module) -> nn.Module:
        return module.to(self.device, DTYPES[self.dtype]).to(memory_format=FORMATS[self.layout])


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


def module_cases(group: Group, wanted: Wanted) -> Iterator[Case]:
    """A copy of the map, then each module on it: in eval mode without gradients, and a training step."""
    x, g = group.map(), group.map()
    yield Case("a copy of the map", x.clone, lambda: (x.clone(), x.clone()))
    for name, make in filter(wanted, MODULES.items()):
        torch.manual_seed(0)
        yield _case(name, group.put(make(group.shape[1])), x, g)


# What is put into a network, and whether it is compiled then.
ATTENTION: dict[str, tuple[Any, bool]] = {
    "plain": (None, False),
    "CBAM, copies alone": (Floor, False),
    "CBAM, published": (Published, False),
    "CBAM, timm": (lambda channels: timms("cbam", channels), False),
    "CBAM, surgeon": ("cbam", False),
    "CBAM, surgeon compiled": ("cbam", True),
    "SE, timm": (lambda channels: timms("se", channels), False),
    "SE, surgeon": ("se", False),
    "SE, surgeon compiled": ("se", True),
}


def network_cases(group: Group, wanted: Wanted) -> Iterator[Case]:
    """The network plain and with each attention."""
    x = group.map()
    for name, (attention, compiles) in filter(wanted, ATTENTION.items()):
        torch.manual_seed(0)
        model = NETWORKS[group.network]()
        if attention is not None:
            model = surgeon.inject(model, attention, where=group.place, init="paper", compile=compiles)
        yield _case(name, group.put(model), x, None)


def cases(group: Group, without: list[str]) -> list[Case]:
    """All cases of a group whose name has none of these words."""

    def wanted(item: tuple[str, Any]) -> bool:
        return not any(word in item[0] for word in without)

    return [*(network_cases if group.network else module_cases)(group, wanted)]


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
