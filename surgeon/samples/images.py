"""The images on board: 1,797 handwritten digits.

Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998
(https://doi.org/10.24432/C50P49), licence CC BY 4.0: its test part, as scikit-learn ships it
(`collecting.py` took it from there).
"""

from pathlib import Path

import numpy
import torch
from torch import Tensor

from surgeon.errors import BadOption, suggest

FILE = Path(__file__).with_name("digits.npz")
# What a network is shown of an image of 8 x 8 pixels.
SIDE = 32
# The first images are for training, the last for testing: in the order of the set, not drawn.
SPLITS = {"all": slice(None), "train": slice(0, 1297), "test": slice(1297, None)}


def digits(split: str = "all") -> tuple[Tensor, Tensor]:
    """Handwritten digits as (images, labels): (N, 1, 32, 32) in [0, 1], and N numbers from 0 to 9.

    They are 8 x 8 pixels of 0 to 16, scanned from paper forms; here they are enlarged, bilinearly.

    Args:
        split: `train` (the first 1,297), `test` (the last 500), or `all`.

    Raises:
        BadOption: another split.

    >>> images, labels = digits("test")
    >>> images.shape, labels[:4]
    (torch.Size([500, 1, 32, 32]), tensor([0, 1, 2, 3]))
    """
    if split not in SPLITS:
        raise BadOption(f"digits({split!r}): {suggest(split, SPLITS)}")
    with numpy.load(FILE) as stored:
        pixels, labels = stored["images"][SPLITS[split]], stored["labels"][SPLITS[split]]
    images = torch.from_numpy(pixels).float().div(16).unsqueeze(1)
    return (
        torch.nn.functional.interpolate(images, size=SIDE, mode="bilinear", align_corners=False),
        torch.from_numpy(labels).long(),
    )
