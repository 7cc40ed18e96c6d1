"""Each thing that must not change is noticed when it does."""

import pytest
import torch
from torch import nn

from surgeon.errors import CheckFailed
from surgeon.surgery import check
from surgeon.trace.outputs import max_abs_diff, outputs, same_bits
from tests.shared import toy


def swap(model):
    model.fc.weight = nn.Parameter(model.fc.weight.clone())


def reorder(model):
    conv = model.block._modules.pop("conv")
    model.block._modules["conv"] = conv


def freeze(model):
    model.fc.weight.requires_grad_(False)


def change(model):
    with torch.no_grad():
        model.fc.weight.add_(1)


def restride(model):
    model.stem[0].weight.data = model.stem[0].weight.data.to(memory_format=torch.channels_last)


def halve(model):
    model.fc.half()


def unhook(model):
    model.block._forward_hooks.clear()


def flip(model):
    model.block.bn.training = not model.block.bn.training


def replace(model):
    model.block.bn = nn.Identity() if False else nn.BatchNorm2d(8)


def substitute(model):
    model.stem[1] = nn.ReLU()


def drop(model):
    del model.fc.bias


def unbuffer(model):
    model.block.bn.register_buffer("running_mean", model.block.bn.running_mean.clone())


NOTICED = {
    swap: "weight 'fc.weight' is not the tensor that it was.",
    reorder: "the weights are in another order than before.",
    freeze: "weight 'fc.weight' is not the tensor that it was.",
    change: "weight 'fc.weight' is not the tensor that it was.",
    restride: "weight 'stem.0.weight' is not the tensor that it was.",
    halve: "weight 'fc.weight' is not the tensor that it was.",
    unhook: "module 'block' is not the one that it was, or not in its mode, or lost a hook.",
    flip: "module 'block.bn' is not the one that it was, or not in its mode, or lost a hook.",
    replace: "weight 'block.bn.weight' is not the tensor that it was.",
    substitute: "module 'stem.1' is not the one that it was, or not in its mode, or lost a hook.",
    drop: "weight 'fc.bias' is gone.",
    unbuffer: "weight 'block.bn.running_mean' is not the tensor that it was.",
}


@pytest.mark.parametrize("damage", NOTICED)
def test_damage_is_noticed(damage):
    model = toy.Net()
    model.block.register_forward_hook(lambda *args: None)
    before = check.snapshot(model)
    check.same_as_before(model, before)
    damage(model)
    with pytest.raises(CheckFailed) as caught:
        check.same_as_before(model, before)
    assert str(caught.value) == NOTICED[damage]


def test_what_is_new_is_allowed():
    model = toy.Net()
    before = check.snapshot(model)
    model.block.add_module("extra", nn.Conv2d(1, 1, 1))
    check.same_as_before(model, before)


def test_tied_weights_are_all_looked_at():
    model = toy.Net()
    model.down[0].weight = model.block.conv.weight
    before = check.snapshot(model)
    assert "down.0.weight" in before.tensors
    model.down[0].weight = nn.Parameter(model.block.conv.weight.clone())
    with pytest.raises(CheckFailed, match="'down.0.weight'"):
        check.same_as_before(model, before)


NAN = float("nan")
SAME = [
    ([1.0, NAN], [1.0, NAN], True), ([1.0, NAN], [1.0, 2.0], False), ([1.0], [1.0 + 1e-7], False), ([0.0], [-0.0], True),
    ([1.0, 2.0], [1.0], False), ([float("inf")], [float("inf")], True),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "alike"), SAME)
def test_same_bits(one, other, alike):
    assert same_bits([torch.tensor(one)], [torch.tensor(other)]) is alike


def test_same_bits_of_other_kinds():
    assert not same_bits([torch.ones(1)], [torch.ones(1, dtype=torch.float64)])
    assert not same_bits([torch.ones(1)], []) and same_bits([], [])
    assert same_bits([torch.ones(1, dtype=torch.long)], [torch.ones(1, dtype=torch.long)])


def test_farthest():
    assert max_abs_diff([torch.tensor([1.0, 5.0])], [torch.tensor([1.0, 2.0])]) == 3
    assert max_abs_diff([torch.ones(0)], [torch.ones(0)]) == 0


def test_outputs_are_those_of_eval_mode_and_leave_no_trace():
    model = toy.Returns(toy.Net(), lambda y: {"logits": y, "n": 3}).train()
    mean = model.inner.block.bn.running_mean.clone()
    (y,) = outputs(model, (toy.image(),))
    assert y.shape == (2, 4) and not y.requires_grad
    assert all(module.training for module in model.modules()) and torch.equal(model.inner.block.bn.running_mean, mean)
