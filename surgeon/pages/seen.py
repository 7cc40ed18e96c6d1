"""What was seen of images: data alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """What was seen of N images, or of N clips of T frames.

    names: of the images. pixels: N x C x H x W from 0 to 1, as they are shown; of clips N x C x T x H x W.
    spatial: path of a gate -> N x H x W, the factor for each position; of clips N x T x H x W, with as many frames as
    the gate's map has. channel: path -> N x C, for each channel.
    cams: names of networks beside, then `attention off` and `attention on` -> N x (T x) H x W from 0 to 1; empty
    without Grad-CAM. sure: the same names -> N, the share that softmax gives the class. layers: the same names -> the
    module whose map was weighed. layer: that of the network itself. classes: what Grad-CAM is for, of each image.
    beside: names of the networks beside. network: what the network itself is called, if it was given a name.
    silent: gates that have no such factors (modules that surgeon did not write, windows of an image), and why.
    """

    names: tuple[str, ...]
    pixels: Tensor
    spatial: dict[str, Tensor]
    channel: dict[str, Tensor]
    cams: dict[str, Tensor] = field(default_factory=dict)
    classes: tuple[int, ...] = ()
    layer: str = ""
    silent: dict[str, str] = field(default_factory=dict)
    sure: dict[str, Tensor] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    network: str = ""
