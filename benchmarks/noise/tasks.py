"""Images of three real channels, and noise to put beside them: the digits on board in colour, or CIFAR-10 on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import surgeon
from surgeon import networks

# How many channels of noise there are, as in the documents.
NOISE = 3


@dataclass(frozen=True)
class Task:
    """Images to learn from and to judge by, (N, 3, H, W) in [0, 1], and the networks for them.

    trained: the network that knows something, for red, green, blue; None where none comes along.
    fresh: one with random weights, by its number of channels. epochs: of each training.
    crops: whether images are shifted and mirrored.
    """

    images: Tensor
    labels: Tensor
    test: Tensor
    test_labels: Tensor
    trained: Callable[[], nn.Module] | None
    fresh: Callable[[int], nn.Module]
    epochs: int
    crops: bool = False


@cache
def task(name: str, folder: str) -> Task:
    """`digits`, or `cifar10` as torchvision keeps it in `folder`."""
    return cifar10(folder) if name == "cifar10" else digits()


def digits() -> Task:
    """The digits on board, each in a colour of its own; the network on board, its kernels for grey copied to each colour."""
    (images, labels), (test, test_labels) = surgeon.samples.digits("train"), surgeon.samples.digits("test")
    draw = torch.Generator().manual_seed(0)
    coloured = [grey * (0.3 + 0.7 * torch.rand(len(grey), 3, 1, 1, generator=draw)) for grey in (images, test)]
    trained = lambda: surgeon.widen_input(surgeon.samples.load(), 3, init="mean")
    fresh = lambda channels: networks.build("sample:digits", arguments={"in_chans": channels})
    return Task(coloured[0], labels, coloured[1], test_labels, trained, fresh, epochs=8)


def cifar10(folder: str) -> Task:
    """CIFAR-10; torchvision's MobileNetV2 with a first stride of 1, which the documents used, of random weights."""
    parts = [torchvision.datasets.CIFAR10(folder, train=train) for train in (True, False)]
    images = [torch.from_numpy(part.data).permute(0, 3, 1, 2).float() / 255 for part in parts]
    labels = [torch.tensor(part.targets) for part in parts]

    def fresh(channels: int) -> nn.Module:
        model = torchvision.models.mobilenet_v2(num_classes=10)
        model.features[0][0] = nn.Conv2d(channels, 32, 3, 1, 1, bias=False)
        return model

    return Task(images[0], labels[0], images[1], labels[1], None, fresh, epochs=30, crops=True)


def with_noise(images: Tensor, channels: int, draw: torch.Generator) -> Tensor:
    """The images, with uniform noise in channels behind their own up to `channels`, drawn anew at each call."""
    noise = torch.rand(len(images), channels - images.shape[1], *images.shape[2:], generator=draw)
    return torch.cat([images, noise], 1)


def shifted(images: Tensor, draw: torch.Generator) -> Tensor:
    """The images, each moved by up to four pixels and mirrored or not."""
    side = images.shape[-1]
    padded = F.pad(images, (4, 4, 4, 4))
    found = []
    for image in padded:
        top, left, is_mirrored = torch.randint(0, 9, (3,), generator=draw).tolist()
        cut = image[:, top : top + side, left : left + side]
        found.append(cut.flip(2) if is_mirrored > 4 else cut)
    return torch.stack(found)
