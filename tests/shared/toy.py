"""Networks of a few lines, each for one trap, and `Mark`, a gate that counts its calls."""

import torch
import torch.nn.functional as F
from torch import nn

from surgeon.attention import Gate


class Mark(Gate):
    """Attention that does nothing but count how often it is asked."""

    def __init__(self, channels, *, init="identity", dims=2):
        super().__init__(channels, init=init, dims=dims)
        self.weight = nn.Parameter(torch.ones(1))
        self.calls = 0

    def attend(self, x):
        self.calls += 1
        return x * self.weight.to(x.dtype)


def image(side=16, batch=2):
    """A small picture, the same at each call."""
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def conv(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


class Residual(nn.Module):
    """The plainest block: relu(bn(conv(x)) + x)."""

    def __init__(self, channels=8):
        super().__init__()
        self.conv = conv(channels, channels)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)) + x)


class Projected(Residual):
    """A shortcut with weights of its own, fewer than the branch has."""

    def __init__(self, channels=8, stride=1):
        super().__init__(channels)
        self.conv = nn.Sequential(conv(channels, channels, stride), nn.ReLU(), conv(channels, channels))
        self.downsample = nn.Conv2d(channels, channels, 1, stride)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)) + self.downsample(x))


class InPlace(Residual):
    """`out += x`, which torch.fx would trace as `out + x`."""

    def forward(self, x):
        out = self.bn(self.conv(x))
        out += x
        return F.relu_(out)


class Net(nn.Module):
    """A stem, two stages and a head around one block that a test is about."""

    def __init__(self, block=None, channels=8):
        super().__init__()
        self.stem = nn.Sequential(conv(3, channels, 2), nn.ReLU())
        self.block = Residual(channels) if block is None else block
        self.down = nn.Sequential(conv(channels, channels, 2), nn.ReLU())
        self.fc = nn.Linear(channels, 4)

    def forward(self, x):
        return self.fc(self.down(self.block(self.stem(x))).mean((2, 3)))


class Shared(nn.Module):
    """One block object used twice in a forward."""

    def __init__(self):
        super().__init__()
        self.block = Residual()

    def forward(self, x):
        return self.block(self.block(x))


class TwoAdds(nn.Module):
    """Two residual adds in one forward, as in a transformer's block."""

    def __init__(self, channels=8):
        super().__init__()
        self.first, self.second = conv(channels, channels), conv(channels, channels)

    def forward(self, x):
        x = x + self.first(x)
        return x + self.second(x)


class Branching(Residual):
    """A forward whose way depends on the numbers that come in: no trace can be right."""

    def forward(self, x):
        y = self.bn(self.conv(x))
        return y + x if x.sum() > 0 else y - x


class Squashing(Residual):
    """As `Branching`, and the branch is no output of a child, behind which attention could go all the same."""

    def forward(self, x):
        y = torch.tanh(self.bn(self.conv(x)))
        return y + x if x.sum() > 0 else y - x


class Mode(Residual):
    """A forward that reads `self.training`: one step more in train mode."""

    def forward(self, x):
        y = self.bn(self.conv(x))
        if self.training:
            y = y + torch.randn_like(y)
        return y + x


class Optional(Residual):
    """An argument that is None unless somebody passes it; torch.fx takes a Proxy for "not None"."""

    def forward(self, x, mask=None, scale=1.0):
        y = self.bn(self.conv(x))
        if mask is not None:
            y = y * mask
        return y * scale + x


class Calls(nn.Module):
    """Hands `arguments` to its block at each call."""

    def __init__(self, block, **arguments):
        super().__init__()
        self.block, self.arguments = block, arguments

    def forward(self, x):
        return self.block(x, **self.arguments)


class Gathers(nn.Module):
    """A block that is given a list, empties it and adds what was in it."""

    def __init__(self, channels=8):
        super().__init__()
        self.conv = conv(channels, channels)

    def forward(self, maps):
        x = maps.pop()
        while maps:
            x = x + maps.pop()
        return self.conv(x) + x


class ListArgument(nn.Module):
    """Hands a list to a child that changes it."""

    def __init__(self, channels=8):
        super().__init__()
        self.one, self.gathers = conv(channels, channels), Gathers(channels)

    def forward(self, x):
        return self.gathers([x, self.one(x)])


class FrozenBN(Net):
    """A batch norm that `train()` leaves in eval mode, as detectors freeze theirs."""

    def train(self, mode=True):
        super().train(mode)
        self.block.bn.training = False
        return self


class ChannelsLast(nn.Module):
    """Channels at the end, as in Swin: a linear layer and a norm on NHWC."""

    def __init__(self, channels=8):
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(channels), nn.Linear(channels, channels)

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        return (x + self.mlp(self.norm(x))).permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """A class token in front of the pixels, as in ViT."""

    def __init__(self, channels=8, grid=4):
        super().__init__()
        self.embed = nn.Conv2d(3, channels, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, channels))
        self.position = nn.Parameter(torch.randn(1, grid * grid + 1, channels))
        self.block = TokenBlock(channels)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.block(x)[:, 0]


class TokenBlock(nn.Module):
    """A residual block of a norm and two linear layers."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels))

    def forward(self, x):
        return x + self.mlp(self.norm(x))


class Returns(nn.Module):
    """Wraps a network and returns what `shape` makes of its output: a dict, a tuple, ..."""

    def __init__(self, inner, shape):
        super().__init__()
        self.inner, self.shape = inner, shape

    def forward(self, x):
        return self.shape(self.inner(x))


class Twins(nn.Module):
    """Two branches of equal weight: nothing in it is a shortcut."""

    def __init__(self):
        super().__init__()
        self.one, self.two = conv(8, 8), conv(8, 8)

    def forward(self, x):
        return self.one(x) + self.two(x)
