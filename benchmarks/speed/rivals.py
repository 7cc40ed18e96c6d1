"""What surgeon's attention is timed against: the published CBAM as its authors wrote it down, and timm's modules."""

from __future__ import annotations

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


def timms(name: str, channels: int) -> nn.Module:
    """timm's module `name`, such as cbam, se, eca."""
    options = {"cbam": {"rd_ratio": 1 / 16}, "se": {"rd_ratio": 1 / 16}}.get(name, {})
    return create_attn(name, channels, **options)
