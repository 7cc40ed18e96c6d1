"""Maps in parts, made smaller on several ways at once or handed on as several: one step."""

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import NoSite
from tests.shared import strangers, toy
from tests.shared.seen import scene

IMAGE = torch.zeros(2, 3, 64, 64)


class Reduction(nn.Module):
    """Inception's, written in one forward: two ways stride in their last layers, a third one pools."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = toy.conv(3, 8, 2), nn.Sequential(strangers.Block(), strangers.Block())
        self.reduce, self.one = nn.Conv2d(8, 4, 1), toy.conv(4, 8, 2)
        self.first, self.second, self.two = nn.Conv2d(8, 4, 1), toy.conv(4, 6), toy.conv(6, 8, 2)
        self.pool, self.last, self.head = nn.MaxPool2d(3, 2, 1), toy.conv(24, 8), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = self.block(self.stem(x))
        ways = [self.one(self.reduce(x).relu()), self.two(self.second(self.first(x)).relu()), self.pool(x)]
        return self.head(self.last(torch.cat(ways, 1)))


class Strided(nn.Module):
    """A bottleneck with its stride in the middle, and a shortcut that projects, in the network's own forward."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = toy.conv(3, 8, 2), nn.Sequential(strangers.Block(), strangers.Block())
        self.before, self.middle, self.after = nn.Conv2d(8, 4, 1), toy.conv(4, 4, 2), nn.Conv2d(4, 16, 1)
        self.shortcut, self.head = nn.Conv2d(8, 16, 1, 2), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        x = self.block(self.stem(x))
        return self.head(self.after(self.middle(self.before(x).relu()).relu()) + self.shortcut(x))


class Towers(nn.Module):
    """Two networks side by side, several layers behind the last stride: each has ends of its own."""

    def __init__(self):
        super().__init__()
        self.stem = toy.conv(3, 8, 2)
        self.one, self.two = self._tower(3), self._tower(4)
        self.head = nn.AdaptiveAvgPool2d(1)

    def _tower(self, depth):
        return nn.ModuleList([toy.conv(8, 8), toy.conv(8, 8, 2), *(toy.conv(8, 8) for _ in range(depth))])

    def forward(self, x):
        one = two = self.stem(x)
        for layer in self.one:
            one = layer(one)
        for layer in self.two:
            two = layer(two)
        return self.head(torch.cat([one, two], 1))


@pytest.mark.parametrize("network", [Reduction, Strided])
def test_ways_that_part_at_one_map_are_one_step(network):
    found = scene(network(), IMAGE)
    block = next(graph for graph in found.graphs if graph.path == "block")
    steps = [step.value for step in found.steps if step.kind == "smaller"]
    assert steps == [found.maps.image, block.outputs[0]]
    assert [site.module for site in surgeon.plan(network(), "se", where="bottleneck", example_inputs=IMAGE)] == [
        "block.1"
    ]


def test_networks_side_by_side_are_no_ways_of_one_step():
    found = scene(Towers(), IMAGE)
    assert [step.taker for step in found.steps if step.kind == "smaller"] == ["stem", "one.1", "two.1"]


class Nameless(Reduction):
    """The map where the ways part is a sum that no module gives."""

    def forward(self, x):
        x = self.block(self.stem(x))
        x = torch.cat([x[:, :4], self.reduce(x)], 1)
        ways = [self.one(self.reduce(x).relu()), self.two(self.second(self.first(x)).relu()), self.pool(x)]
        return self.head(self.last(torch.cat(ways, 1)))


def test_a_map_of_no_module_is_refused_and_no_other_one_taken():
    with pytest.raises(NoSite, match="the map of 8 channels that the model makes belongs to no module"):
        surgeon.plan(Nameless(), "se", where="bottleneck", example_inputs=IMAGE)


class TwoWay(nn.Module):
    """A block that adds on one way and appends on the other, and returns both."""

    def __init__(self, channels, stride=1):
        super().__init__()
        self.project = toy.conv(channels, 16, stride) if stride > 1 or channels < 12 else None
        self.conv = toy.conv(channels, 12, stride)

    def forward(self, x):
        joined = torch.cat(x, 1) if isinstance(x, tuple) else x
        kept = x if self.project is None else self.project(joined).split((8, 8), 1)
        more = self.conv(joined)
        return kept[0] + more[:, :8], torch.cat([kept[1], more[:, 8:]], 1)


class TwoWays(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.block = toy.conv(3, 8, 2), nn.Sequential(strangers.Block(), strangers.Block())
        self.one, self.two, self.three = TwoWay(8), TwoWay(20), TwoWay(24, 2)
        self.head = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.head(torch.cat(self.three(self.two(self.one(self.block(self.stem(x))))), 1))


def test_a_map_that_is_handed_on_in_parts_is_weighed_where_they_are_joined():
    model = TwoWays().eval()
    before = model(IMAGE)
    sites = surgeon.plan(model, "se", where="bottleneck", example_inputs=IMAGE).sites
    surgeon.inject(model, "se", where="bottleneck", example_inputs=IMAGE, init="paper")
    assert [(site.module, site.after) for site in sites] == [("three", "cat")]
    weighed = []
    surgeon.attention_modules(model)["three.se"].register_forward_hook(lambda _, args, y: weighed.append(y))
    assert not torch.equal(model(IMAGE), before) and [y.shape[1] for y in weighed] == [24]
