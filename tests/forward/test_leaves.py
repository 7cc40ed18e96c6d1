"""Functions that a trace takes as one step, in the scope of the trace alone."""

import math
from math import ceil

import torch
from torch import nn

import surgeon
from surgeon.forward.leaves import scoped
from tests.shared import toy


@torch.fx.wrap
def by_number(x, factor):
    return x * factor if x.sum() > 0 else x / factor


def root(number):
    return math.sqrt(number)


class Leaves(toy.Residual):
    """A branch through functions that take no proxies: of math, of math by name, marked ones, in a method, in a helper."""

    def forward(self, x):
        y = self.scale(self.bn(self.conv(x))) / root(x.shape[1])
        return y * ceil(x.shape[2] / 3) + x

    def scale(self, y):
        return by_number(y, math.log(y.shape[1]))


@torch.no_grad()
def test_leaves_of_a_rewritten_forward():
    model, image = nn.Sequential(toy.Net(Leaves())).eval(), toy.image()
    before, now = model(image), (math.sqrt, root.__globals__["math"], Leaves.scale, Leaves.forward)
    surgeon.inject(model, toy.Mark)
    assert torch.equal(model(image), before) and model[0].block.mark.calls == 1
    assert (math.sqrt, root.__globals__["math"], Leaves.scale, Leaves.forward) == now
    other = toy.image(48, batch=3)
    assert torch.equal(model(other), surgeon.remove(model)(other))


def test_a_function_without_leaves_is_itself():
    assert scoped(toy.Residual.forward) is toy.Residual.forward
    assert scoped(root) is not root and scoped(root)(4) == 2
