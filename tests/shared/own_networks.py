"""Networks of nobody's library, named in files as `tests.shared.own_networks:function`."""

import torch
from torch import nn


def tied(parted=False):
    """Two layers that share one weight; or no more."""
    first, second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    if not parted:
        second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second)


class Scaled(nn.Module):
    """A function, a number and tables on the object, none of them in the state dict."""

    gain = 1.0

    def __init__(self, function=torch.relu, table=1.0, size=2, mean=0.0):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.function, self.unread = function, function
        self.mean = torch.full((8, 1, 1), mean)
        self.register_buffer("table", torch.full((size,), table), persistent=False)

    def forward(self, x):
        return self.function(self.conv(x) - self.mean) * self.table.sum() * self.gain


def scaled_by(factor):
    return lambda x: factor * x


class Stateful(nn.Module):
    """Says more to its state dict than tensors."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def get_extra_state(self):
        return {"step": 4}

    def set_extra_state(self, state):
        pass

    def forward(self, x):
        return self.conv(x)


def exits():
    raise SystemExit(3)
