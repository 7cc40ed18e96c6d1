"""SE: squeeze and excitation, a score for each channel (Hu et al., CVPR 2018)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from surgeon.attention.gate import SILENT, Gate, Init, gain, gamma, silence, slope
from surgeon.attention.options import flag, whole
from surgeon.attention.passes import Scan
from surgeon.attention.passes.factors import factors
from surgeon.attention.precision import called


class SE(Gate):
    """`x * sigmoid(fc2(relu(fc1(mean(x)))))`.

    Args:
        reduction: the hidden layer has max(1, channels // reduction) units.
        bias: whether the two layers have one.
        divisor: the hidden width is rounded to a multiple of it, as timm does with 8.

    Start: a fresh published module multiplies its map by about 0.5.
    Cost: one pass over the map and one product. A ResNet-50 on a GPU took 1.15 times as long for inference and
        1.35 times for training, by the ECA paper.
    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507, figures 2 and 3; layers
        are named as timm names them.
    """

    def __init__(
        self,
        channels: int,
        *,
        init: Init = "identity",
        dims: int = 2,
        reduction: int = 16,
        bias: bool = True,
        divisor: int = 1,
    ) -> None:
        super().__init__(channels, init=init, dims=dims)
        hidden = rounded(channels // whole("reduction", reduction), whole("divisor", divisor))
        self.fc1 = nn.Linear(channels, hidden, bias=flag("bias", bias))
        self.fc2 = nn.Linear(hidden, channels, bias=bias)
        self.gamma = gamma(init)
        self.gain: Tensor | None
        self.register_buffer("gain", gain(init))
        self.slope: Tensor | None
        self.register_buffer("slope", slope(init))
        if init in SILENT:
            silence(self.fc2)

    @property
    def weighs_positions(self) -> bool:
        return False

    def attend(self, x: Tensor) -> Tensor:
        scan = Scan(x, self.passes)
        hidden = F.relu(called(self.fc1, scan.average(), widen=False))
        s = factors(called(self.fc2, hidden, widen=False), self.gamma, self.gain, self.slope)
        return scan.product(self.note_channels(s, x))


def rounded(width: int, divisor: int) -> int:
    """The multiple of `divisor` nearest to `width`, at least one of it.

    >>> rounded(4, 8), rounded(20, 8), rounded(0, 1)
    (8, 24, 1)
    """
    return max(divisor, (width + divisor // 2) // divisor * divisor)
