"""A rewritten forward notices that its module is not what it was: it follows, or says so; attention is never dropped."""

import copy
import pickle

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadModel
from surgeon.forward.grafts import Input
from surgeon.forward.subclass import grafted
from tests.shared import toy

X = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))


def operated(block, where="residual"):
    """The block of a small network, with a mark in it that trebles."""
    torch.manual_seed(0)
    model = surgeon.inject(toy.Net(block).eval(), toy.Mark, where=where)
    mark = next(iter(surgeon.attention_modules(model).values()))
    mark.weight.data.fill_(3)
    return model.block, mark


class Frozen(toy.Residual):
    """Reads all that a trace can freeze: children that are not there, flags, lists of children, functions."""

    wide = False

    def __init__(self):
        super().__init__()
        self.se = None
        self.drop_path = nn.Identity()
        self.scale, self.size, self.act = 1.0, [1, 2], torch.relu
        self.more = nn.ModuleList([nn.Identity()])

    def forward(self, x):
        y = self.bn(self.conv(x))
        if self.se is not None:
            y = self.se(y)
        if hasattr(self, "late"):
            y = self.late(y)
        for module in self.more:
            y = module(y)
        if self.wide:
            y = y * 2
        if self.more[0].training and not self.training:
            y = y + 1
        return self.act(self.helped(self.drop_path(y)) * self.scale * self.size[0] + x)

    def helped(self, y):
        return y


class Doubles(nn.Module):
    def forward(self, x):
        return 2 * x


def set_training(block):
    block.more[0].training = True


CHANGES = {
    "nothing": lambda block: None,
    "a child that was None": lambda block: setattr(block, "se", Doubles()),
    "a child that did nothing": lambda block: setattr(block, "drop_path", Doubles()),
    "a child that did something": lambda block: setattr(block, "conv", nn.Conv2d(8, 8, 3, 1, 1)),
    "an attribute that was not there": lambda block: setattr(block, "late", Doubles()),
    "one child more in a list": lambda block: block.more.append(Doubles()),
    "a child in a list": lambda block: block.more.__setitem__(0, Doubles()),
    "a flag of the class": lambda block: setattr(block, "wide", True),
    "a number": lambda block: setattr(block, "scale", 2.0),
    "a number in a list": lambda block: block.size.__setitem__(0, 2),
    "a function": lambda block: setattr(block, "act", torch.tanh),
    "a method": lambda block: setattr(block, "helped", lambda y: 2 * y),
    "a child's mode": set_training,
}


@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES)
def test_it_follows(change):
    block, mark = operated(Frozen(), where="block.bn")
    before = block(X)
    CHANGES[change](block)
    # What attention there does by hand.
    with block.bn.register_forward_hook(lambda module, args, y: 3 * y):
        expected = Frozen.forward(block, X)
    mark.calls = 0
    assert torch.equal(block(X), expected) and mark.calls == 1
    assert torch.equal(before, expected) is (change == "nothing")


@torch.no_grad()
@pytest.mark.parametrize("again", [copy.deepcopy, lambda block: pickle.loads(pickle.dumps(block))])
def test_copies_follow(again):
    block, _ = operated(Frozen(), where="block.bn")
    block = again(block)
    before = block(X)
    block.drop_path, block.se = Doubles(), Doubles()
    assert not torch.equal(block(X), before)


@torch.no_grad()
def test_in_one_graph_and_anew_after_a_change():
    torch._dynamo.reset()
    block, _ = operated(Frozen(), where="block.bn")
    compiled = torch.compile(block, fullgraph=True, backend="eager")
    assert torch.equal(compiled(X), block(X))
    block.drop_path = Doubles()
    assert torch.equal(compiled(X), block(X))


class Merges(toy.Residual):
    """Has another forward, for when its norm is merged into its convolution."""

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))

    def forward_fuse(self, x):
        return torch.relu(self.conv(x))


def fused(block):
    """What libraries do to such a block."""
    block.conv = torch.nn.utils.fuse_conv_bn_eval(block.conv, block.bn)
    del block.bn
    block.forward = block.forward_fuse


@torch.no_grad()
@pytest.mark.parametrize("again", [lambda block: block, copy.deepcopy, lambda block: pickle.loads(pickle.dumps(block))])
@pytest.mark.parametrize("where", ["*block", "input"])
def test_another_forward_of_the_class_has_attention_at_its_ends(where, again):
    block, _ = operated(Merges(), where=where) if where == "*block" else at_input(Merges())
    expected = block(X)
    fused(block)
    block = again(block)
    torch.testing.assert_close(block(X), expected)
    gate = next(name for name, child in block.named_children() if isinstance(child, toy.Mark))
    getattr(block, gate).weight.data.fill_(1)
    assert not torch.allclose(block(X), expected)


def at_input(block):
    """The block with a mark at its own input."""
    block = block.eval()
    block.add_module("mark", toy.Mark(8))
    block.mark.weight.data.fill_(3)
    block.__class__ = grafted(type(block), Input("mark"))
    return block, block.mark


@torch.no_grad()
def test_remove_leaves_the_forward_that_was_chosen():
    model = surgeon.inject(toy.Net(Merges()).eval(), toy.Mark, where="*block")
    expected = model.block(X)
    fused(model.block)
    surgeon.remove(model)
    assert type(model.block) is Merges and "forward" in vars(model.block)
    torch.testing.assert_close(model.block(X), expected)


@torch.no_grad()
def test_another_forward_that_merged_nothing_keeps_attention_inside():
    block, mark = operated(Split(), where="block.bn")
    expected, mark.calls = block(X), 0
    block.forward = block.forward_split
    assert torch.equal(block(X), expected) and mark.calls == 1


class Split(toy.Residual):
    def forward_split(self, x):
        return torch.relu(x + self.bn(self.conv(x)))


def norm_is_gone(block):
    del block.bn


def norm_is_merged(block):
    block.conv, block.bn = torch.nn.utils.fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()


def activation_is_merged(block):
    block.act = nn.Identity()


class Acts(Merges):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


LOST = {
    "another forward": (Merges, "bn", fused, "attention (mark) stands behind 'bn', which is gone"),
    "no norm": (toy.Residual, "bn", norm_is_gone, "attention (mark) stands behind 'bn', which is gone"),
    "no activation": (
        Acts,
        "bn",
        activation_is_merged,
        "attention (mark) works before 'act', which is an Identity now",
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_attention_between_what_was_merged_is_refused(case):
    kind, after, change, told = LOST[case]
    block, _ = operated(kind(), where=f"block.{after}")
    change(block)
    with pytest.raises(BadModel) as caught:
        block(X)
    assert str(caught.value) == (
        f"block: {told} (merged?). Merge layers first and put attention in afterwards, or choose a place behind the whole module."
    )


@torch.no_grad()
def test_a_norm_in_front_of_attention_may_be_merged():
    block, mark = operated(toy.Residual(), where="block.bn")
    expected, mark.calls = block(X), 0
    norm_is_merged(block)
    torch.testing.assert_close(block(X), expected)
    assert mark.calls == 1


class Step(toy.Residual):
    """Attention stands behind a step of its own."""

    flag = False

    def forward(self, x):
        y = self.bn(self.conv(x)) * 2
        return y + x if not self.flag else y - x


def test_attention_behind_no_child_is_refused():
    block, _ = operated(Step())
    block.flag = True
    with pytest.raises(BadModel) as caught:
        block(X)
    assert str(caught.value) == (
        "block: its flag was False and is True now, and surgeon rewrote its forward for that. "
        "Call surgeon.remove(model), and put attention in again as it is now."
    )


class Fuses(toy.Residual):
    """Merges itself, into another module or in place."""

    def forward(self, x):
        return self.bn(self.conv(x))

    def fuse(self):
        conv, bn = self._modules.values()
        return torch.nn.utils.fuse_conv_bn_eval(conv, bn)


class Reparameterizes(toy.Residual):
    def __init__(self):
        super().__init__()
        self.merged = None

    def forward(self, x):
        return self.bn(self.conv(x)) if self.merged is None else self.merged(x)

    def reparameterize(self):
        for weight in self.parameters():
            weight.detach_()
        self.merged = torch.nn.utils.fuse_conv_bn_eval(self.conv, self.bn)
        del self.conv, self.bn


class Chain(nn.Sequential):
    def fuse(self):
        conv, bn = self._modules.values()
        return torch.nn.utils.fuse_conv_bn_eval(conv, bn)


def merged(model):
    """What timm does to a network."""
    for name, child in model.named_children():
        if hasattr(child, "fuse"):
            setattr(model, name, child.fuse())
        elif hasattr(child, "reparameterize"):
            child.reparameterize()
        merged(child)
    return model


KINDS = {"fuse": Fuses, "reparameterize": Reparameterizes, "chain": lambda: Chain(toy.conv(8, 8), nn.BatchNorm2d(8))}


@torch.no_grad()
@pytest.mark.parametrize("where", ["*block", "inside"])
@pytest.mark.parametrize("kind", KINDS)
def test_modules_that_merge_themselves_keep_attention(kind, where):
    torch.manual_seed(0)
    model = toy.Net(KINDS[kind]()).eval()
    place = where if where != "inside" else "block.1" if kind == "chain" else "block.bn"
    surgeon.inject(model, toy.Mark, where=place)
    (mark,) = surgeon.attention_modules(model).values()
    mark.weight.data.fill_(3)
    expected = model(toy.image())
    merged(model)
    mark.calls = 0
    torch.testing.assert_close(model(toy.image()), expected)
    assert mark.calls == 1 and list(surgeon.attention_modules(model)) == ["block.mark"]
    assert all(weight.requires_grad for weight in surgeon.attention_parameters(model).values())
    # What stands between layers keeps them apart.
    kept = [type(module) for module in model.block.modules() if isinstance(module, nn.BatchNorm2d)]
    assert bool(kept) is (where == "inside")
    surgeon.remove(model)
    assert not surgeon.attention_modules(model)
