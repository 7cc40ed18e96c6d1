"""Three small networks of the libraries' own blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock, conv1x1


def resnet(channels: int, stride: int) -> nn.Module:
    """A ResNet as for CIFAR, three blocks of 16, 32 and 64 channels."""
    stem = nn.Sequential(nn.Conv2d(channels, 16, 3, stride, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    down = [nn.Sequential(conv1x1(16 * n, 32 * n, 2), nn.BatchNorm2d(32 * n)) for n in (1, 2)]
    stages = [BasicBlock(16, 16), BasicBlock(16, 32, 2, down[0]), BasicBlock(32, 64, 2, down[1])]
    parts = {"stem": stem} | {f"layer{number}": nn.Sequential(block) for number, block in enumerate(stages, 1)}
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(64, 10)}
    return nn.Sequential(OrderedDict(parts | head))


def mobilenet(channels: int, stride: int) -> nn.Module:
    """torchvision's MobileNetV2 with seven blocks of 8 to 32 channels."""
    blocks = [[1, 8, 1, 1], [4, 8, 2, 1], [4, 16, 2, 2], [4, 32, 2, 2]]
    model = MobileNetV2(num_classes=10, width_mult=1.0, inverted_residual_setting=blocks, round_nearest=8, dropout=0.0)
    model.features[0][0] = nn.Conv2d(channels, 32, 3, stride, 1, bias=False)
    return model


def convnext(channels: int, stride: int) -> nn.Module:
    """torchvision's ConvNeXt with a block each of 16, 32 and 64 channels."""
    blocks = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 1), CNBlockConfig(64, None, 1)]
    model = ConvNeXt(blocks, num_classes=10)
    model.features[0][0] = nn.Conv2d(channels, 16, 2 * stride, 2 * stride)
    return model


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {"resnet": resnet, "mobilenet": mobilenet, "convnext": convnext}
