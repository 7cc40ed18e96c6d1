"""Each word of rules on a network that it is about, and on one that it is not."""

import pytest
import toy
from seen import adds, graph, scene
from torch import nn

from surgeon.residual import branch_and_shortcut, is_residual
from surgeon.words import WORDS, Candidate


def residuals(block, path="block"):
    found = scene(toy.Net(block))
    return [is_residual(node, found.maps) for node in adds(found, path)]


class Twins(nn.Module):
    """Two branches of equal weight: nothing in it is a shortcut."""

    def __init__(self):
        super().__init__()
        self.one, self.two = toy.conv(8, 8), toy.conv(8, 8)

    def forward(self, x):
        return self.one(x) + self.two(x)


class Bias(nn.Module):
    """A number is added, not a map."""

    def __init__(self):
        super().__init__()
        self.conv = toy.conv(8, 8)

    def forward(self, x):
        return self.conv(x) + 1 + self.conv.bias.view(8, 1, 1)


class Gated(nn.Module):
    """One value per channel is added to a map."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return x + self.conv(x.mean((2, 3), keepdim=True))


BLOCKS = {
    toy.Residual: [True], toy.InPlace: [True], toy.Projected: [True], toy.TwoAdds: [True, True], toy.ChannelsLast: [True],
    Twins: [False], Bias: [False, False], Gated: [False],
}  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
def test_residual_adds(block):
    assert residuals(block()) == BLOCKS[block]


@pytest.mark.parametrize("swapped", [False, True])
def test_the_branch_is_told_by_what_is_learned_on_it(swapped):
    class Block(toy.Projected):
        def forward(self, x):
            branch, shortcut = self.bn(self.conv(x)), self.downsample(x)
            return shortcut + branch if swapped else branch + shortcut

    found = scene(toy.Net(Block()))
    branch, shortcut = branch_and_shortcut(adds(found, "block")[0])
    assert branch in graph(found, "block.bn").outputs and shortcut in graph(found, "block.downsample").outputs


def answer(word, argument, value, node, found, **names):
    return WORDS[word](Candidate(value, node, found.graph, names), argument, found)


def test_words_about_one_value():
    found = scene(toy.Net())
    add = adds(found, "block")[0]
    image, head = found.maps.image, graph(found, "fc").outputs[0]
    assert answer("op", "add", add.outputs[0], add, found) and not answer("op", "mul", add.outputs[0], add, found)
    assert answer("rank", "map", image, None, found) and not answer("rank", "map", head, None, found)
    assert answer("is", "image", image, None, found) and not answer("is", "image", add.outputs[0], add, found)


def test_words_about_neighbours():
    found = scene(toy.Net())
    last, block = graph(found, "down").outputs[0], graph(found, "block").outputs[0]
    assert answer("into", "pool", last, None, found) and not answer("into", "smaller", last, None, found)
    assert answer("into", "smaller", block, None, found)
    assert not answer("beyond", "stem", found.maps.image, None, found)


def test_the_table_is_the_vocabulary():
    assert set(WORDS) >= {"op", "rank", "from", "into", "beyond", "is"}
    assert all(call.__doc__ for call in WORDS.values())
