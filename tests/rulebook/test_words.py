"""Each word of rules on a network that it is about, and on one that it is not."""

import pytest
import torch
from torch import nn

from surgeon.anatomy.residual import branch_and_shortcut, is_residual
from surgeon.rulebook.words import WORDS, Candidate
from tests.shared import toy
from tests.shared.seen import adds, graph, scene


def residuals(block, path="block"):
    found = scene(toy.Net(block))
    return [is_residual(node, found.maps) for node in adds(found, path)]


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


class Ghost(nn.Module):
    """A shortcut that projects by a depthwise and a pointwise convolution, and one more inside the branch."""

    def __init__(self):
        super().__init__()
        self.first, self.second = toy.conv(8, 8), nn.Sequential(toy.conv(8, 8), toy.conv(8, 8))
        self.shortcut = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1))

    def forward(self, x):
        return self.second(self.first(x)) + self.shortcut(x)


class Levels(nn.Module):
    """A pyramid's: both sizes of a map have a layer of their own, and neither changes its shape."""

    def __init__(self, *shortcut):
        super().__init__()
        self.down, self.small, self.whole = toy.conv(8, 8, 2), toy.conv(8, 8), nn.Sequential(*shortcut)

    def forward(self, x):
        return nn.functional.interpolate(self.small(self.down(x)), scale_factor=2) + self.whole(x)


class Dual(nn.Module):
    """A dual path: the map comes in two parts, one of which is added to, while the other one grows."""

    def __init__(self, joins=True):
        super().__init__()
        self.joins = joins
        self.conv, self.other = nn.Sequential(nn.Conv2d(12 if joins else 4, 8, 1), toy.conv(8, 8)), toy.conv(8, 8)

    def forward(self, parts):
        kept, grown = parts
        made = self.conv(torch.cat([kept, grown], 1) if self.joins else grown)
        return kept + (made if self.joins else made + self.other(kept))


class Parts(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.before, self.block = toy.conv(8, 12), block

    def forward(self, x):
        x = self.before(x)
        return self.block((x[:, :8], x[:, 8:]))


def test_levels_of_a_pyramid_are_no_block():
    assert residuals(Levels(toy.conv(8, 8))) == [False]
    assert residuals(Levels()) == [True]


def test_parts_that_are_joined_first_are_one_map():
    assert residuals(Parts(Dual()), "block.block") == [True]
    # What is learned of another map alone is no branch of this one.
    assert not any(residuals(Parts(Dual(joins=False)), "block.block")[1:])


class Tree(nn.Module):
    """Two blocks, and a root that joins what they made, and adds that of the second one once more."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.block = toy.Residual(), toy.Residual(), Dual()
        self.block.conv = toy.conv(16, 8)

    def forward(self, x):
        first = self.first(x)
        return self.block((self.second(first), first))


def test_the_root_of_a_tree_of_blocks_is_no_block():
    """Its parts were made one after the other, and are no two parts of one map."""
    assert residuals(Tree(), "block.block") == [False]


class Pooled(nn.Module):
    """A branch without a kernel, its scale stored as a vector."""

    def __init__(self, scaled=True):
        super().__init__()
        self.scaled, self.scale = scaled, nn.Parameter(torch.ones(8))

    def forward(self, x):
        branch = nn.functional.avg_pool2d(x, 3, 1, 1) - x
        return x + (branch * self.scale.view(1, 8, 1, 1) if self.scaled else branch)


class Mixer(nn.Module):
    """Tokens are mixed by a linear layer over the axis that counts them."""

    def __init__(self):
        super().__init__()
        self.mix, self.norm = nn.Linear(64, 64), nn.LayerNorm(8)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.mix(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        return tokens.transpose(1, 2).reshape_as(x)


class Untold(nn.Module):
    """A shortcut whose channels nobody can tell, though its pixels lie in rows; the branch can be told."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Linear(8, 8)

    def forward(self, x):
        tokens = torch.einsum("ncp->npc", x.flatten(2))
        tokens = tokens + self.mlp(tokens)
        return tokens.transpose(1, 2).reshape_as(x)


BLOCKS = {
    toy.Residual: [True], toy.InPlace: [True], toy.Projected: [True], toy.TwoAdds: [True, True], toy.ChannelsLast: [True],
    Ghost: [True], Pooled: [True], Mixer: [True], Untold: [True],
    toy.Twins: [False], Bias: [False, False], Gated: [False],
}  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
def test_residual_adds(block):
    assert residuals(block()) == BLOCKS[block]


def test_a_branch_on_which_nothing_is_learned_is_none():
    assert residuals(Pooled(scaled=False)) == [False]


class Queries(nn.Module):
    """A further map comes in on the way of the branch."""

    def __init__(self):
        super().__init__()
        self.inner, self.query = Asked(), toy.conv(8, 8)

    def forward(self, x):
        return self.inner(x, self.query(x))


class Asked(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = toy.conv(8, 8)

    def forward(self, x, query):
        return x + self.conv(x * query)


def test_further_maps_on_the_branch_are_for_rules_to_allow():
    found = scene(toy.Net(Queries()))
    node = adds(found, "block.inner")[0]
    assert not is_residual(node, found.maps) and is_residual(node, found.maps, {"anywhere"})


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
    finding = WORDS[word].judge(Candidate(value, node, found.graph, names), argument, found)
    assert finding.seen
    return finding.holds


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
    assert all(word.name == name and word.about for name, word in WORDS.items())


class Resized(nn.Module):
    """A second branch takes the image in another size, as CrossViT's does."""

    def __init__(self):
        super().__init__()
        self.one, self.two = (
            nn.Sequential(toy.conv(3, 8, 4), toy.Residual()),
            nn.Sequential(toy.conv(3, 8, 4), toy.conv(8, 8, 2)),
        )
        self.head = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        small = nn.functional.interpolate(x, scale_factor=0.75)
        return self.head(self.one(x)) + self.head(self.two(small))


def test_an_image_of_another_size_is_an_image_still():
    found = scene(Resized(), torch.zeros(2, 3, 64, 64))
    assert sorted(found.maps[image].size[0] for image in found.images) == [48, 64]
    small = next(image for image in found.images if image is not found.maps.image)
    assert not answer("beyond", "stem", small, None, found)


def test_the_trunk_may_hold_the_image_alone():
    found = scene(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)))
    step = found.steps[0]
    assert not WORDS["beyond"].judge(Candidate(step.value, step.node, step.graph), "stem", found).holds
    other = found.graph.children[0].outputs[0]
    assert WORDS["beyond"].judge(Candidate(other, None, found.graph), "stem", found).seen
