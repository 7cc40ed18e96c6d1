"""Where the map is made smaller, and where it ends."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from tests.shared import strangers, toy
from tests.shared.seen import scene


def spelled(model, image=None):
    """(kind, size before, channels before) of each step of the trunk."""
    found = scene(model, image)
    return [(step.kind, found.maps[step.value].size[-1], found.maps[step.value].channels) for step in found.steps]


def plain(**layers):
    return nn.Sequential(OrderedDict(layers))


def test_steps_of_a_small_network():
    assert spelled(toy.Net()) == [("smaller", 16, 3), ("smaller", 8, 8), ("pool", 4, 8)]


ENDS = {
    "mean": lambda x: x.mean((2, 3)),
    "adaptive": lambda x: nn.functional.adaptive_avg_pool2d(x, 1),
    "pool": lambda x: nn.functional.avg_pool2d(x, x.shape[-1]),
    "flatten": lambda x: x.flatten(1).sum(1, keepdim=True),
    "amax": lambda x: x.amax((2, 3)),
}


class Ends(nn.Module):
    def __init__(self, end):
        super().__init__()
        self.conv, self.end = toy.conv(3, 8, 2), end

    def forward(self, x):
        return self.end(self.conv(x))


@pytest.mark.parametrize("end", ENDS)
def test_every_way_of_pooling_ends_the_trunk(end):
    assert spelled(Ends(ENDS[end]))[-1][:2] == ("pool", 8)


class Experts(nn.Module):
    """Makes its map smaller by kernels that the image chooses, all images as one: what is pooled is on the side."""

    def __init__(self):
        super().__init__()
        self.route, self.kernels, self.last = nn.Linear(8, 2), nn.Parameter(torch.randn(2, 8 * 8 * 9)), toy.conv(8, 8)

    def forward(self, x):
        images, channels, height, width = x.shape
        chosen = torch.sigmoid(self.route(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)))
        kernels = (chosen @ self.kernels).view(images * 8, channels, 3, 3)
        y = nn.functional.conv2d(x.reshape(1, -1, height, width), kernels, stride=2, padding=1, groups=images)
        return self.last(y.view(images, 8, *y.shape[2:]))


def test_what_chooses_kernels_ends_no_trunk():
    model = plain(stem=toy.conv(3, 8), stage=Experts(), last=toy.conv(8, 8, 2), pool=nn.AdaptiveAvgPool2d(1))
    assert spelled(model, torch.zeros(2, 3, 32, 32)) == [("smaller", 32, 8), ("smaller", 16, 8), ("pool", 8, 8)]


def test_a_map_that_nothing_pools_ends_where_the_network_does():
    assert spelled(plain(a=toy.conv(3, 8, 2), b=toy.conv(8, 8))) == [("smaller", 16, 3), ("pool", 8, 8)]


def test_a_module_that_halves_twice_is_looked_into():
    stages = nn.Sequential(toy.conv(8, 8, 2), toy.conv(8, 16), toy.conv(16, 16, 2))
    assert spelled(plain(stem=toy.conv(3, 8), stages=stages, pool=nn.AdaptiveAvgPool2d(1)), torch.zeros(2, 3, 32, 32)) == [
        ("smaller", 32, 8), ("smaller", 16, 16), ("pool", 8, 16),
    ]  # fmt: skip


class Added(nn.Module):
    """So many kernels and a shortcut; with one alone, it may be a kernel in two parts, one of them the identity."""

    def __init__(self, kernels):
        super().__init__()
        self.convs = nn.Sequential(*(toy.conv(8, 8) for _ in range(kernels)))

    def forward(self, x):
        return self.convs(x) + x


@pytest.mark.parametrize(("kernels", "where"), [(1, "stage"), (2, "stage.3")])
def test_three_blocks_before_a_stride_are_a_stage(kernels, where):
    stage = nn.Sequential(*(Added(kernels) for _ in range(3)), toy.conv(8, 8, 2), toy.conv(8, 8))
    found = scene(plain(stem=toy.conv(3, 8, 2), stage=stage, pool=nn.AdaptiveAvgPool2d(1)), torch.zeros(2, 3, 32, 32))
    assert found.steps[1].node.child.path == where


LARGER = [
    nn.Upsample(scale_factor=2),
    nn.PixelShuffle(2),
    nn.ConvTranspose2d(16, 4, 2, 2),
    nn.Sequential(toy.conv(16, 4), nn.Upsample(scale_factor=2), toy.conv(4, 4)),
]


@pytest.mark.parametrize("up", LARGER, ids=lambda up: type(up).__name__)
def test_a_map_that_is_only_made_larger_again_ended_before(up):
    body = plain(a=toy.conv(3, 8, 2), b=toy.conv(8, 16, 2), up=up)
    assert spelled(body) == [("smaller", 16, 3), ("smaller", 8, 8), ("pool", 4, 16)]


def test_a_few_pixels_lost_at_the_border_are_no_step():
    assert spelled(plain(a=nn.Conv2d(3, 8, 5), b=nn.AdaptiveAvgPool2d(1)))[:1] == [("pool", 12, 8)]


class Attends(nn.Module):
    """Attention on a smaller map of its own, which it makes as large as before in the end."""

    def __init__(self):
        super().__init__()
        self.small = nn.Sequential(toy.conv(8, 8, 2), toy.conv(8, 8), nn.ConvTranspose2d(8, 8, 2, 2))

    def forward(self, x):
        return x + self.small(x)


def test_what_a_block_makes_smaller_for_itself_is_no_stage():
    stage = nn.Sequential(toy.conv(8, 8, 2), Attends())
    body = plain(stem=toy.conv(3, 8, 2), stage=stage, last=toy.conv(8, 8, 2), pool=nn.AdaptiveAvgPool2d(1))
    found = scene(body, torch.zeros(2, 3, 64, 64))
    assert [step.taker for step in found.steps] == ["stem", "stage", "last", "pool"]


class Slides(nn.Module):
    """Ends in a window of the whole clip that it was made for; on a larger one the window slides, and scores are averaged."""

    def __init__(self, window, stride=1):
        super().__init__()
        self.body = nn.Sequential(toy.conv(3, 8, 2), toy.conv(8, 8), toy.conv(8, 8, 2))
        self.head = nn.Sequential(nn.Conv2d(8, 16, 1), nn.AvgPool2d(window, stride), nn.Conv2d(16, 4, 1))

    def forward(self, x):
        return self.head(self.body(x)).mean((2, 3))


@pytest.mark.parametrize("window", [2, (2, 2)])
@pytest.mark.parametrize("side", [8, 12])
def test_a_pool_that_slides_ends_the_trunk_at_every_size(window, side):
    found = scene(Slides(window), torch.zeros(2, 3, side, side))
    steps = [(step.kind, found.maps[step.value].size[-1]) for step in found.steps]
    assert steps[:2] == [("smaller", side), ("smaller", side // 2)]
    assert steps[2] == ("pool", side // 4) and len(steps) == 3


def test_a_pool_that_slides_over_a_padded_map_ends_no_trunk():
    body = [toy.conv(3, 8, 2), toy.conv(8, 8, 2), nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2, 1), toy.conv(8, 16)]
    assert spelled(nn.Sequential(*body, nn.AdaptiveAvgPool2d(1)), torch.zeros(2, 3, 8, 8))[-1] == ("pool", 2, 16)


def test_a_pool_that_strides_ends_no_trunk():
    assert spelled(Slides(2, 2), torch.zeros(2, 3, 16, 16))[2:] == [("smaller", 4, 8), ("pool", 2, 4)]


class Queries(nn.Module):
    """A stack of layers whose last map only queries look at, so many of them that they are no vector."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(toy.conv(3, 8, 4), nn.ReLU(), toy.conv(8, 8))
        self.queries = nn.Parameter(torch.zeros(20, 8))
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = self.tower(x).flatten(2).transpose(1, 2)
        return self.attend(self.queries.expand(len(x), -1, -1), tokens, tokens)[0]


def test_a_map_that_only_queries_look_at_is_the_last():
    found = scene(toy.Returns(Queries(), lambda queries: queries))
    assert [(step.kind, found.maps.described(step.value)) for step in found.steps][-1] == (
        "pool",
        "a map of 8 x 4 x 4 (NLC)",
    )


def test_a_stage_of_one_transformers_block_before_a_stride_is_a_stage():
    blocks = [strangers.Block(), strangers.Block()]
    stage = nn.Sequential(*blocks, toy.conv(8, 8, 2), strangers.Block())
    found = scene(plain(stem=toy.conv(3, 8, 2), stage=stage, pool=nn.AdaptiveAvgPool2d(1)), torch.zeros(2, 3, 32, 32))
    assert found.steps[1].node.child.path == "stage.2"


class Levels(nn.Module):
    """A U-Net of one layer a level: what a decoder comes back to, by another such layer, is a level and no stem."""

    def __init__(self, second):
        super().__init__()
        self.first, self.second, self.deepest = Level(3, 8), second, toy.conv(16, 16)
        self.up, self.head = nn.Upsample(scale_factor=2), nn.Conv2d(24, 2, 1)

    def forward(self, x):
        level = self.first(x)
        return self.head(torch.cat([level, self.up(self.deepest(self.second(level)))], 1))


class Level(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(toy.conv(inputs, outputs, 2), nn.ReLU())


@pytest.mark.parametrize(
    ("second", "is_stem"), [(Level(8, 16), False), (nn.Sequential(nn.MaxPool2d(2), toy.conv(8, 16)), True)]
)
def test_a_level_that_is_made_as_the_next_one_is_no_stem(second, is_stem):
    found = scene(Levels(second), torch.zeros(2, 3, 32, 32))
    (level,) = next(graph for graph in found.graphs if graph.path == "first").outputs
    assert found.is_stems(level) is is_stem


@pytest.mark.parametrize(("depth", "is_stem"), [(1, False), (2, True)])
def test_a_first_stage_of_one_block_is_as_deep_as_the_next(depth, is_stem):
    stages = [nn.Sequential(toy.conv(8, 8, 2), *(strangers.Block() for _ in range(depth))), nn.AdaptiveAvgPool2d(1)]
    found = scene(plain(stem=toy.conv(3, 8, 2), first=strangers.Block(), second=stages[0], pool=stages[1]))
    (first,) = next(graph for graph in found.graphs if graph.path == "first").outputs
    assert found.is_stems(first) is is_stem


class Pyramid(nn.Module):
    """Makes maps of several sizes of those of a plain stack of layers."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.ConvTranspose2d(8, 8, 2, 2), nn.MaxPool2d(2)

    def forward(self, one, two, three):
        return self.up(one), two, self.down(three)


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.layers = toy.conv(3, 8, 4), nn.ModuleList(strangers.Block() for _ in range(3))
        self.pyramid, self.head = Pyramid(), nn.Conv2d(24, 2, 1)

    def forward(self, x):
        x, kept = self.embed(x), []
        for layer in self.layers:
            x = layer(x)
            kept.append(x)
        maps = self.pyramid(*kept)
        return self.head(torch.cat([nn.functional.interpolate(m, size=maps[0].shape[2:]) for m in maps], 1))


def test_a_pyramid_that_is_made_of_one_size_is_a_decoder():
    found = scene(Stack(), torch.zeros(2, 3, 64, 64))
    assert [step.taker for step in found.steps if step.kind == "smaller"] == ["embed"]


class Appended(nn.Module):
    """Tokens of an image with others behind them, which are no map any more (YOLOS): what is left is the first layer's."""

    def __init__(self):
        super().__init__()
        self.patches, self.more = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 5, 8))
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.GELU())

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.layers(torch.cat([tokens, self.more.expand(len(x), -1, -1)], 1))


def test_a_map_that_is_left_behind_by_most_layers_is_not_the_last_of_the_network():
    assert [kind for kind, *_ in spelled(Appended(), torch.zeros(2, 3, 64, 64))] == ["smaller"]
