"""What was seen of images: data alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """What was seen of N images.

    names: of the images. pixels: N x C x H x W from 0 to 1, as they are shown.
    spatial: path of a gate -> N x H x W, the factor for each position. channel: path -> N x C, for each channel.
    cams: `attention off` and `attention on` -> N x H x W from 0 to 1; empty without Grad-CAM.
    classes: the class that Grad-CAM is for, of each image. layer: the module whose map it weighs.
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
