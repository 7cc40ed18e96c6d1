"""Forwards that ask how many axes a map has, are handed sizes, and make tensors from them: none of it stops a rewrite."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import surgeon

pytestmark = pytest.mark.fast

IMAGE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Branch(nn.Module):
    """A residual block that ends its branch in a norm, which can't own attention: its own forward must be rewritten."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.norm = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)

    def branch(self, x):
        return self.norm(self.conv2(self.conv1(x).relu()))


class Counted(Branch):
    def forward(self, x):
        if len(x.shape) != 4:
            x = x[None]
        return x + self.branch(x)


class Asked(Branch):
    def forward(self, x):
        if x.dim() == 3 or x.ndim == 3:
            x = x.unsqueeze(0)
        return x + self.branch(x)


def drop_connect(x, rate, training):
    if not training:
        return x
    axes = len(x.shape) - 2
    mask = torch.rand([x.shape[0], 1] + [1] * axes, dtype=x.dtype, device=x.device)
    return x / (1 - rate) * torch.floor(mask + 1 - rate)


class Dropped(Branch):
    def forward(self, x):
        return x + drop_connect(self.branch(x), 0.5, self.training)


class Masked(Branch):
    def forward(self, x):
        y = self.branch(x)
        if self.training:
            y = y * torch.empty(x.shape[0], 1, 1, 1, device=x.device).bernoulli_(0.5)
        return x + y


class Sized(Branch):
    def forward(self, x, size):
        return x + F.interpolate(self.branch(x[..., ::2, ::2]), size=size)


class HandsOn(nn.Module):
    """Hands the sizes of its map to its block, as a torch.Size."""

    def __init__(self):
        super().__init__()
        self.block = Sized()

    def forward(self, x):
        return self.block(x, x.shape[2:])


def network(block):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), block(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("block", [Counted, Asked, Dropped, Masked, HandsOn])
def test_attention_goes_in_and_changes_no_bit(block):
    plain = network(block).eval()
    model = surgeon.inject(deepcopy(plain), "cbam", where="residual", example_inputs=IMAGE)
    assert len(surgeon.attention_modules(model)) == 1
    for image in (IMAGE, F.interpolate(IMAGE, (16, 24))):
        assert torch.equal(model(image), plain(image))
    assert torch.equal(trained(model), trained(plain))


def trained(model):
    model.train()
    torch.manual_seed(1)
    return model(IMAGE)


@pytest.mark.parametrize("block", [Counted, Asked])
def test_another_number_of_axes_goes_the_way_of_its_own(block):
    """What was rewritten for a batch takes a single map too: through the forward that asks."""
    model = surgeon.inject(network(block).eval(), "cbam", where="residual", init="paper", example_inputs=IMAGE)
    single = torch.randn(8, 16, 16)
    assert torch.equal(model[1](single), model[1](single[None]))
