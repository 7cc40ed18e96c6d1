"""CBAM: which channels, then which positions (Woo et al., ECCV 2018)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgeon.attention.gate import SILENT, Gate, Init, gain, gamma, silence, slope
from surgeon.attention.options import Names, choice, flag, odd, subset, whole
from surgeon.attention.passes import Scan
from surgeon.attention.passes.axes import as_channels
from surgeon.attention.passes.capture import is_ours
from surgeon.attention.passes.factors import factors
from surgeon.attention.passes.plain import scaled
from surgeon.attention.pools import POOLS, pooled
from surgeon.attention.precision import BatchNorm, called, normalized

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
Branches = Literal["both", "channel", "spatial"]
Order = Literal["channel-first", "spatial-first", "parallel"]
# By the number of spatial axes.
CONV: dict[int, type[Conv]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM: dict[int, type[BatchNorm]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class CBAM(Gate):
    """`y = x * s_c`, then `y * s_s`: a score per channel, then one per position.

    `s_c = sigmoid(sum of mlp(pool(x)))`, `s_s = sigmoid(bn(conv([max_c(y), mean_c(y)])))`.

    Args:
        reduction: the MLP's hidden layer has max(1, channels // reduction) units.
        pools: what the channel scores are made from: avg, max, lp, lse.
        bias: whether the MLP's layers have one (timm's have none).
        kernel_size: of the convolution over positions, odd; 7 or 3 in the paper.
        branches: both, or the channel or spatial scores alone.
        order: channel-first; spatial-first; parallel, where both scores are taken from x.
        norm: batch normalisation after the convolution.
        conv_bias: whether the convolution has a bias, which `surgeon.fold` makes of the norm.
        maps: what the convolution sees: max and mean over the channels in this order (timm's: mean, max), or
            conv, a learned 1x1 convolution.

    Start: a fresh published module multiplies its map by about 0.25, which costs a pretrained network its
        accuracy until it is trained again. The released networks start with a norm weight of 0 (timm's with 1), and
        so do `paper`, `neutral` and `eager` here: frozen there, the convolution never learns, and surgeon warns of it.
    Cost: hardly any arithmetic, but several passes over the map. A ResNet-50 on a GPU took 1.5 times as long
        for inference and 2.2 times for training, by the ECA paper.
    Source: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv:1807.06521, figures 1 to
        3; defaults as in the released code.
    """

    def __init__(
        self,
        channels: int,
        *,
        init: Init = "identity",
        dims: int = 2,
        reduction: int = 16,
        pools: Names = ("avg", "max"),
        bias: bool = True,
        kernel_size: int = 7,
        branches: Branches = "both",
        order: Order = "channel-first",
        norm: bool = True,
        conv_bias: bool = False,
        maps: Names = ("max", "mean"),
    ) -> None:
        super().__init__(channels, init=init, dims=dims)
        self.order = choice("order", order, ("channel-first", "spatial-first", "parallel"))
        branches = choice("branches", branches, ("both", "channel", "spatial"))
        channel = ChannelScale(channels, init, reduction=reduction, pools=pools, bias=bias)
        spatial = SpatialScale(channels, init, dims, kernel_size=kernel_size, norm=norm, conv_bias=conv_bias, maps=maps)
        self.channel = channel if branches != "spatial" else None
        self.spatial = spatial if branches != "channel" else None

    @property
    def weighs_positions(self) -> bool:
        return self.spatial is not None

    def attend(self, x: Tensor) -> Tensor:
        if self.order == "spatial-first":
            return self._attend(self._attend(x, None, self.spatial), self.channel, None)
        return self._attend(x, self.channel, self.spatial)

    def _attend(self, x: Tensor, channel: ChannelScale | None, spatial: SpatialScale | None) -> Tensor:
        """The map with the factors of one branch, or of both of them."""
        is_parallel = self.order == "parallel"
        beside = spatial is not None and "conv" in spatial.maps
        scan = Scan(x, self.passes, apart=is_parallel, beside=beside)
        s = t = None
        if channel is not None:
            s = self.note_channels(channel(channel.pooled(scan)), x)
        if spatial is not None:
            t = self.note("spatial", spatial(spatial.squeezed(scan, None if is_parallel else s)))
        return x if s is None and t is None else scan.product(s, t)


class ChannelScale(nn.Module):
    """A factor for each channel from its pools: (N, pools, C) -> (N, C)."""

    def __init__(self, channels: int, init: Init, *, reduction: int, pools: Names, bias: bool) -> None:
        super().__init__()
        self.pools = subset("pools", pools, tuple(POOLS))
        # The released code's C // r gives no hidden unit at all below 16 channels.
        hidden = max(1, channels // whole("reduction", reduction))
        self.fc1 = nn.Linear(channels, hidden, bias=flag("bias", bias))
        self.fc2 = nn.Linear(hidden, channels, bias=bias)
        self.gamma = gamma(init)
        self.gain: Tensor | None
        self.register_buffer("gain", gain(init))
        self.slope: Tensor | None
        self.register_buffer("slope", slope(init))
        for layer in (self.fc1, self.fc2) if bias else ():
            nn.init.zeros_(layer.bias)
        if init in SILENT:
            silence(self.fc2)

    def pooled(self, scan: Scan) -> Tensor:
        """All pools at once, images first: a hook on a layer sees one call, and who counts per image finds them."""
        return pooled(scan, self.pools)

    def forward(self, pools: Tensor) -> Tensor:
        hidden = F.relu(called(self.fc1, pools, widen=False))
        scores = called(self.fc2, hidden, widen=False)
        return factors(scores, self.gamma, self.gain, self.slope, parts=True)


class SpatialScale(nn.Module):
    """A factor for each position from maps of one channel: (N, maps, *spatial) -> (N, 1, *spatial)."""

    def __init__(
        self, channels: int, init: Init, dims: int, *, kernel_size: int, norm: bool, conv_bias: bool, maps: Names
    ) -> None:
        super().__init__()
        self.maps = subset("maps", maps, ("max", "mean", "conv"))
        if "conv" in self.maps:
            self.squeeze = CONV[dims](channels, 1, 1, bias=False)
        pad = odd("kernel_size", kernel_size) // 2
        has_bias = flag("conv_bias", conv_bias)
        self.conv = CONV[dims](len(self.maps), 1, kernel_size, padding=pad, bias=has_bias)
        self.bn = NORM[dims](1, momentum=0.01) if flag("norm", norm) else None
        self.gamma = gamma(init)
        self.gain: Tensor | None
        self.register_buffer("gain", gain(init))
        self.slope: Tensor | None
        self.register_buffer("slope", slope(init))
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        if self.bn is not None and init != "identity":
            # As the released networks start; at identity gamma is the zero, and a second would only delay it.
            nn.init.zeros_(self.bn.weight)
        elif init in SILENT:
            silence(self.conv)

    def squeezed(self, scan: Scan, s: Tensor | None) -> Tensor:
        """What the convolution sees of the map, each channel of it times its factor in `s`."""
        if set(self.maps) == {"max", "mean"}:
            return scan.squeeze(s, max_first=self.maps[0] == "max")
        maps = {}
        if "max" in self.maps or "mean" in self.maps:
            maps["mean"], maps["max"] = scan.squeeze(s).split(1, 1)
        if "conv" in self.maps:
            maps["conv"] = called(
                self.squeeze, scan.beside if s is None else scaled(scan.beside, as_channels(s, scan.x))
            )
        return torch.cat([maps[name] for name in self.maps], dim=1)

    def forward(self, maps: Tensor) -> Tensor:
        scores = called(self.conv, _in_order(maps), widen=False)
        scores = scores if self.bn is None else normalized(self.bn, scores, widen=False)
        return factors(scores, self.gamma, self.gain, self.slope)


def _in_order(maps: Tensor) -> Tensor:
    """`maps` as the convolution learns from them most quickly.

    On a CPU its way back takes two to four times as long where channels come first.
    """
    if maps.requires_grad and maps.device.type == "cpu" and maps.dim() == 4 and is_ours(maps):
        return maps.contiguous(memory_format=torch.channels_last)
    return maps
