"""What surgeon's attention is timed against: the published CBAM as its authors wrote it down, and timm's modules."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import create_attn
from torch import Tensor, nn


class Published(nn.Module):
    """CBAM by the operators of the released code, from the paper's formulas (Woo et al., ECCV 2018).

    A pooling window over the whole map, the MLP once for each pool, `torch.max` for the maps of the convolution, and a
    map written down after each branch.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        scores = self.mlp(F.avg_pool2d(x, size, stride=size)) + self.mlp(F.max_pool2d(x, size, stride=size))
        y = x * torch.sigmoid(scores)[:, :, None, None].expand_as(x)
        maps = torch.cat([torch.max(y, 1)[0].unsqueeze(1), torch.mean(y, 1).unsqueeze(1)], dim=1)
        return y * torch.sigmoid(self.bn(self.conv(maps)))


class Floor(nn.Module):
    """What CBAM can't do without: three reads of its map and one write on the way there, which are two copies of it; on
    the way back two reads of the map, two of the gradient and one write, which are two and a half."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = Copies.apply(x)
        return y


class Copies(torch.autograd.Function):
    """The map itself, by as many copies."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clone().clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        x.sum()
        return g.clone().clone()


def timms(name: str, channels: int) -> nn.Module:
    """timm's module `name`, such as cbam, se, eca."""
    options = {"cbam": {"rd_ratio": 1 / 16}, "se": {"rd_ratio": 1 / 16}}.get(name, {})
    return create_attn(name, channels, **options)
