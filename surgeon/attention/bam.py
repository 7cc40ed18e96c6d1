"""BAM: one scale for every channel at every position, between two stages (Park et al., BMVC 2018)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgeon.attention.cbam import CONV, NORM, Branches
from surgeon.attention.gate import SILENT, Gate, Init, gain, gamma, silence, slope
from surgeon.attention.options import choice, flag, whole
from surgeon.attention.passes import Scan
from surgeon.attention.passes.axes import as_channels
from surgeon.attention.passes.dtypes import score_dtype
from surgeon.attention.passes.factors import steep
from surgeon.attention.passes.formulas import Combine, combined
from surgeon.attention.precision import called, normalized

Form = Literal["released", "paper"]


class BAM(Gate):
    """`x * (1 + sigmoid(channel(x) combined with spatial(x)))`.

    `channel(x) = fc(relu(bn(fc(mean(x)))))`, `spatial(x)` is a 1x1, two dilated 3x3 and a 1x1 convolution with
    bn and relu between them. `form="released"` multiplies the two, as the published weights need it;
    `form="paper"` adds them and has one more bn at the end of each.

    Args:
        form: released or paper.
        reduction: both branches work on max(1, channels // reduction) channels.
        dilation: of the 3x3 convolutions of the spatial branch.
        combine: sum, product or max of the branches; None takes the form's own.
        branches: both, or the channel or spatial branch alone.
        convs: number of dilated convolutions.
        layers: number of hidden layers of the channel branch.
        norm: batch normalisation in both branches; `surgeon.fold` leaves none.

    Start: a fresh published module multiplies its map by about 1.5.
    Cost: one module a stage, not a block; on ResNet-50 3.94 instead of 3.86 billion multiply-adds.
    Source: Park et al., "BAM: Bottleneck Attention Module", BMVC 2018, arXiv:1807.06514, equations 1 to 5. The
        released code pools H x H windows, right on square maps only; here it is the mean over the map.
    """

    def __init__(
        self,
        channels: int,
        *,
        init: Init = "identity",
        dims: int = 2,
        form: Form = "released",
        reduction: int = 16,
        dilation: int = 4,
        combine: Combine | None = None,
        branches: Branches = "both",
        convs: int = 2,
        layers: int = 1,
        norm: bool = True,
    ) -> None:
        super().__init__(channels, init=init, dims=dims)
        is_paper = choice("form", form, ("released", "paper")) == "paper"
        self.combine = choice("combine", combine or ("sum" if is_paper else "product"), get_args(Combine))
        branches = choice("branches", branches, ("both", "channel", "spatial"))
        hidden = max(1, channels // whole("reduction", reduction))
        flag("norm", norm)
        channel = ChannelBranch(channels, hidden, is_paper, dims, layers=layers, norm=norm)
        spatial = SpatialBranch(channels, hidden, is_paper, dims, dilation=dilation, convs=convs, norm=norm)
        self.channel = channel if branches != "spatial" else None
        self.spatial = spatial if branches != "channel" else None
        self.gamma = gamma(init)
        self.gain: Tensor | None
        self.register_buffer("gain", gain(init))
        self.slope: Tensor | None
        self.register_buffer("slope", slope(init))
        if init in SILENT:
            silence(channel.last)
            silence(spatial.last)
            if branches == "both" and self.combine == "product":
                # Of two zeros neither would get a gradient; beside a one, the other learns as if it were alone.
                nn.init.ones_(spatial.last.get_parameter("bias"))

    def attend(self, x: Tensor) -> Tensor:
        scan = Scan(x, self.passes, beside=self.spatial is not None)
        a = None if self.channel is None else self._score(self.channel(scan.average()))
        b = None if self.spatial is None else self._score(self.spatial(scan.beside))
        offset, factor = self._acts(x)
        if a is None or b is None:
            s, t = (None if one is None else offset + factor * torch.sigmoid(steep(one, self.slope)) for one in (a, b))
            self._note(t if s is None else as_channels(s, x), x)
            return scan.product(s, t)
        # Of a product it is enough that one of them is steep.
        a, b = steep(a, self.slope), b if self.combine == "product" else steep(b, self.slope)
        if self.maps is not None:
            self._note(offset + factor * torch.sigmoid(combined(as_channels(a, x), b, self.combine)), x)
        return scan.blend(a, b, self.combine, offset, factor)

    def _score(self, score: Tensor) -> Tensor:
        return score if self.init == "paper" else torch.nan_to_num(score)

    def _acts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map is multiplied by the one number, plus the other times the sigmoid of the score.

        As published both are 1, and gamma takes the place of the second. A gain of 2 gives 0 and 2: that is 1 where the
        score is 0.
        """
        one = torch.ones(1, dtype=score_dtype(x.dtype), device=x.device)
        if self.gain is not None:
            gain = self.gain.to(one.dtype)
            return 2 - gain, gain
        return one, one if self.gamma is None else self.gamma.to(one.dtype)

    def _note(self, scale: Tensor | None, x: Tensor) -> None:
        if self.maps is not None and scale is not None:
            scale = scale.expand_as(x)
            self.note("channel", scale.mean(tuple(range(2, scale.dim())), keepdim=True))
            self.note("spatial", scale.mean(1, keepdim=True))


class Branch(nn.Module):
    """Numbered layers of one `kind`, normalisation after some of them, ReLU after all but the last.

    kind: what the layers are called: fc or conv.
    steps: how many there are.
    """

    kind = ""
    steps = 0

    @property
    def last(self) -> nn.Module:
        """The layer that the scores come from."""
        name = f"bn{self.steps}"
        return self.get_submodule(name if hasattr(self, name) else f"{self.kind}{self.steps}")

    def run(self, x: Tensor, norm: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        for step in range(1, self.steps + 1):
            x = called(getattr(self, f"{self.kind}{step}"), x, widen=False)
            x = norm(getattr(self, f"bn{step}"), x) if hasattr(self, f"bn{step}") else x
            x = F.relu(x) if step < self.steps else x
        return x.to(score_dtype(x.dtype))


class ChannelBranch(Branch):
    """Scores of the channels: (N, C) -> (N, C), through an MLP of their means."""

    kind = "fc"

    def __init__(self, channels: int, hidden: int, is_paper: bool, dims: int, *, layers: int, norm: bool) -> None:
        super().__init__()
        widths = [channels, *[hidden] * whole("layers", layers), channels]
        self.steps, self.dims = len(widths) - 1, dims
        for step, (inputs, outputs) in enumerate(pairwise(widths), 1):
            layer = nn.Linear(inputs, outputs)
            self.add_module(f"fc{step}", layer)
            if norm and (step < self.steps or is_paper):
                # The published code has BatchNorm1d, which tools that freeze or convert a network of images pass by.
                self.add_module(f"bn{step}", NORM[dims](outputs))
            nn.init.zeros_(layer.bias)

    def forward(self, means: Tensor) -> Tensor:
        return self.run(means, self._normalized)

    def _normalized(self, layer: nn.Module, scores: Tensor) -> Tensor:
        return normalized(layer, scores[(...,) + (None,) * self.dims], widen=False).flatten(1)


class SpatialBranch(Branch):
    """Scores of the positions: (N, C, *spatial) -> (N, 1, *spatial), through dilated convolutions."""

    kind = "conv"

    def __init__(
        self, channels: int, hidden: int, is_paper: bool, dims: int, *, dilation: int, convs: int, norm: bool
    ) -> None:
        super().__init__()
        conv, pad = CONV[dims], whole("dilation", dilation)
        dilated = [conv(hidden, hidden, 3, padding=pad, dilation=dilation) for _ in range(whole("convs", convs, 0))]
        layers = [conv(channels, hidden, 1), *dilated, conv(hidden, 1, 1)]
        self.steps = len(layers)
        for step, layer in enumerate(layers, 1):
            self.add_module(f"conv{step}", layer)
            if norm and (step < self.steps or is_paper):
                self.add_module(f"bn{step}", NORM[dims](layer.out_channels))
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, partial(normalized, widen=False))
