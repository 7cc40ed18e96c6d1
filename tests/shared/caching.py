"""Networks that keep in their attributes what they computed last."""

import torch
from torch import nn


class Head(nn.Module):
    """Makes its anchors anew only where the size is another: with the size and without the anchors it would crash."""

    def __init__(self):
        super().__init__()
        self.shape, self.anchors, self.gain = None, torch.empty(0), 1.0
        self.offsets = torch.zeros(2)

    def forward(self, x):
        if self.shape != x.shape:
            self.shape = x.shape
            self.anchors = torch.arange(x.shape[-1], dtype=x.dtype, device=x.device) + 0.5
        return (x + self.anchors) * self.gain + self.offsets.sum()


class Anchored(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), Head()

    def forward(self, x):
        return self.head(self.norm(self.conv(x)))


class Tabled(nn.Module):
    """Keeps a table of positions as a buffer, and a dict of sizes."""

    def __init__(self):
        super().__init__()
        self.conv, self.sides = nn.Conv2d(3, 4, 3, 2, 1), {"last": 0}
        self.register_buffer("table", torch.zeros(16), persistent=False)

    def forward(self, x):
        x = self.conv(x)
        self.table = torch.linspace(0, 1, x.shape[-1], device=x.device)
        self.sides["last"] = x.shape[-1]
        return x + self.table


class Deciding(nn.Module):
    """Reads a number out of a tensor, which shapes alone do not have."""

    def __init__(self):
        super().__init__()
        self.conv, self.largest, self.mean = nn.Conv2d(3, 4, 3, 2, 1), 0.0, torch.zeros(4, 1, 1)

    def forward(self, x):
        x = self.conv(x)
        self.largest = max(x.abs().max().item(), 1e-3)
        self.mean = x.mean((0, 2, 3)).view(4, 1, 1)
        return (x - self.mean) / self.largest


class Counting(nn.Module):
    """A number that training moves on, and evaluation reads."""

    steps = 0

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        if self.training:
            self.steps += 1
        return self.conv(x) * (1 + self.steps)


class Losing(nn.Module):
    """Leaves a loss behind, in training alone."""

    def __init__(self):
        super().__init__()
        self.conv, self.loss = nn.Conv2d(3, 4, 3, 2, 1), torch.zeros(())

    def forward(self, x):
        x = self.conv(x)
        if self.training:
            self.loss = x.square().mean()
        return x + 0 * self.loss
