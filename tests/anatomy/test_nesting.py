"""Adds in the branches of others: blocks, parts of a block, skips around several."""

import pytest
import torch
from torch import nn

from surgeon.anatomy.nesting import blocks_among, outermost
from surgeon.anatomy.residual import is_residual
from tests.shared import strangers, toy
from tests.shared.seen import scene


class Skip(nn.Module):
    """A shortcut around what it is given."""

    def __init__(self, *inner):
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x):
        return x + self.inner(x)


class Splits(nn.Module):
    """Splits of a map, each added to what was made of the one before, within a block (Res2Net)."""

    def __init__(self):
        super().__init__()
        self.before, self.after = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.convs = nn.ModuleList(toy.conv(2, 2) for _ in range(4))

    def forward(self, x):
        made = []
        for conv, part in zip(self.convs, self.before(x).split(2, 1)):
            made.append(conv(part + made[-1] if made else part))
        return x + self.after(torch.cat(made, 1))


class Gated(nn.Module):
    """A block with two more in what it is multiplied by, at half its size (CSATv2)."""

    def __init__(self):
        super().__init__()
        self.one, self.two = toy.conv(8, 8), toy.conv(8, 8)
        self.gate = nn.Sequential(
            nn.AvgPool2d(2), strangers.Block(), strangers.Block(), nn.Upsample(scale_factor=2), nn.Sigmoid()
        )

    def forward(self, x):
        y = self.two(self.one(x))
        return x + y * self.gate(y)


class Resized(nn.Module):
    """A skip around one block at half its size."""

    def __init__(self):
        super().__init__()
        self.down, self.block, self.up = toy.conv(8, 8, 2), strangers.Block(), nn.ConvTranspose2d(8, 8, 2, 2)

    def forward(self, x):
        return x + self.up(self.block(self.down(x)))


NESTS = {
    "a block alone": (strangers.Block(), ["block"]),
    "a block around one": (Skip(strangers.Block(), toy.conv(8, 8)), ["block"]),
    "a skip around two": (Skip(strangers.Block(), strangers.Block()), ["block.inner.0", "block.inner.1"]),
    "skips around skips": (
        Skip(Skip(strangers.Block(), strangers.Block()), toy.conv(8, 8)),
        ["block.inner.0.inner.0", "block.inner.0.inner.1"],
    ),
    "two sums of a transformer's block": (nn.Sequential(toy.TwoAdds(), toy.TwoAdds()), ["block.0"] * 2 + ["block.1"] * 2),
    "one layer in several parts": (Skip(toy.Residual(), toy.Residual(), toy.Residual()), ["block"]),
    "splits": (Splits(), ["block"]),
    "blocks of a gate": (Gated(), ["block"]),
    "a block at another size": (Resized(), ["block.block"]),
}  # fmt: skip


@pytest.mark.parametrize("case", NESTS)
def test_blocks(case):
    block, wanted = NESTS[case]
    found = scene(toy.Net(block))
    adds = [
        node for graph in found.graphs for node in graph.nodes if node.op == "add" and is_residual(node, found.maps)
    ]
    adds.sort(key=lambda node: node.outputs[0].order)
    assert [node.graph.path for node in blocks_among(adds, found.maps)] == wanted
    assert all(node in adds for node in outermost(adds))
