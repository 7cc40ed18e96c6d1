"""ECA: a score for each channel from its neighbours, with a handful of weights (Wang et al., CVPR 2020)."""

from __future__ import annotations

from math import log2

from torch import Tensor, nn

from surgeon.attention.gate import SILENT, Gate, Init, gain, gamma, silence, slope
from surgeon.attention.options import odd
from surgeon.attention.passes import Scan
from surgeon.attention.passes.factors import factors
from surgeon.attention.precision import called


class ECA(Gate):
    """`x * sigmoid(conv1d(mean(x)))`, a convolution along the channels.

    Args:
        kernel_size: how many neighbouring channels make a score, odd; None computes it from the channels.

    Start: a fresh published module multiplies its map by about 0.5.
    Cost: as SE, one pass and one product, with a handful of weights. Only channels beside each other meet, and in
        a network trained without it their order means nothing yet.
    Source: Wang et al., "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks", CVPR 2020,
        arXiv:1910.03151, figure 2 and equation 12 with gamma 2 and b 1.
    """

    def __init__(
        self, channels: int, *, init: Init = "identity", dims: int = 2, kernel_size: int | None = None
    ) -> None:
        super().__init__(channels, init=init, dims=dims)
        size = kernel(channels) if kernel_size is None else odd("kernel_size", kernel_size)
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.gamma = gamma(init)
        self.gain: Tensor | None
        self.register_buffer("gain", gain(init))
        self.slope: Tensor | None
        self.register_buffer("slope", slope(init))
        if init in SILENT:
            silence(self.conv)

    @property
    def weighs_positions(self) -> bool:
        return False

    def attend(self, x: Tensor) -> Tensor:
        scan = Scan(x, self.passes)
        scores = called(self.conv, scan.average().unsqueeze(1), widen=False).squeeze(1)
        s = factors(scores, self.gamma, self.gain, self.slope)
        return scan.product(self.note_channels(s, x))


def kernel(channels: int) -> int:
    """The paper's kernel size for that many channels: odd, and at least 3.

    >>> kernel(64), kernel(256), kernel(2048)
    (3, 5, 7)
    """
    size = int((log2(channels) + 1) / 2)
    return max(3, size + 1 - size % 2)
