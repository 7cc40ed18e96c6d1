"""Networks that surgeon can't guess an input for, named in files as `tests.shared.several:NAME`."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels, kind=nn.Conv2d):
        super().__init__()
        norm = {nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d}[kind]
        self.conv, self.norm = kind(channels, channels, 3, padding=1), norm(channels)

    def forward(self, x):
        return x + self.norm(self.conv(x)).relu()


def branch(inputs, outputs, kind=nn.Conv2d):
    return nn.Sequential(kind(inputs, outputs, 3, padding=1), Block(outputs, kind))


class Siamese(nn.Module):
    """Two images of the same kind."""

    def __init__(self):
        super().__init__()
        self.branch, self.head = branch(3, 8), nn.Linear(8, 2)

    def forward(self, first, second):
        return self.head((self.branch(first) - self.branch(second)).abs().mean((2, 3)))


class Captioned(nn.Module):
    """An image and words, by name; a mask may be left out."""

    def __init__(self):
        super().__init__()
        self.words, self.branch = nn.Embedding(11, 8), branch(3, 8)

    def forward(self, pixel_values, *, input_ids, mask=None):
        words = self.words(input_ids)
        if mask is not None:
            words = words * mask.unsqueeze(-1)
        return self.branch(pixel_values).mean((2, 3)) @ words.mean(1).T


class Batched(nn.Module):
    """A dict, as data loaders give it, with a list and a number in it."""

    def __init__(self):
        super().__init__()
        self.branch = branch(3, 8)

    def forward(self, batch):
        left, right = batch["images"]
        return {"scores": self.branch(left + right).mean((2, 3)) * batch["scale"]}


class Volumetric(nn.Module):
    """A volume with one channel and sides of its own."""

    def __init__(self):
        super().__init__()
        self.branch = branch(1, 4, nn.Conv3d)
        self.head = nn.Linear(4 * 6 * 8 * 10, 2)

    def forward(self, volume):
        return self.head(self.branch(volume).flatten(1))


class Counted(nn.Module):
    """How many of each row are real: a row of none would have no mean."""

    def __init__(self):
        super().__init__()
        self.branch = branch(3, 8)

    def forward(self, image, lengths):
        if not bool((lengths > 1).all()):
            raise ValueError("lengths must be larger than 1")
        return self.branch(image).mean((2, 3)) / lengths.unsqueeze(1)


def examples():
    """Name of a network -> what it is called with in Python; None for its text where there is none."""
    image = torch.randn(2, 3, 16, 16)
    return {
        "Siamese": ((image, image.flip(0)), "2x3x16x16 2x3x16x16"),
        "Captioned": (
            {"pixel_values": image, "input_ids": torch.arange(10).view(2, 5), "mask": torch.ones(2, 5).bool()},
            "pixel_values=2x3x16x16 input_ids=2x5:int64 mask=2x5:bool",
        ),
        "Batched": (({"images": [image, image], "scale": 0.5},), None),
        "Volumetric": (torch.randn(2, 1, 6, 8, 10), "2x1x6x8x10"),
    }
