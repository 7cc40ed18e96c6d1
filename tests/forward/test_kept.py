"""Forwards that no trace can follow: attention stands behind their children all the same, and chance stays chance."""

import copy
import pickle
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import surgeon
from surgeon.errors import Untraceable
from tests.shared import toy
from tests.shared.bits import assert_same_bits
from tests.shared.toy import conv


class Dropped(nn.Module):
    """Stochastic depth by hand: in training the branch is left out now and then."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = conv(8, 8), nn.BatchNorm2d(8)
        self.last, self.bn2 = conv(8, 8), nn.BatchNorm2d(8)

    def is_left_out(self):
        return torch.rand(1).item() < 0.5

    def forward(self, x):
        if self.training and self.is_left_out():
            return F.relu(x)
        branch = self.bn2(self.last(F.relu(self.bn(self.conv(x)))))
        if not self.training:
            branch = branch * 0.5
        return F.relu(branch + x)


class DroppedByPython(Dropped):
    """The same with Python's own generator, which leaves no step on record."""

    def is_left_out(self):
        return random.random() < 0.5


class Padded(Dropped):
    """An `if` on the size of the image, as where windows have to fit."""

    def forward(self, x):
        height, width = x.shape[2:]
        pads = (0, -width % 8, 0, -height % 8)
        was_padded = pads[1] > 0 or pads[3] > 0
        y = F.pad(x, pads) if was_padded else x
        y = self.bn2(self.last(F.relu(self.conv(y))))
        if was_padded:
            y = y[..., :height, :width]
        return x + y.contiguous()


class Listed(Dropped):
    """Sizes taken out of what is made on the way, and free keywords."""

    def forward(self, x, **kwargs):
        y = F.relu(self.conv(x))
        y = torch.cat([y, torch.zeros(len(y), 0, *y.shape[2:], device=y.device)], dim=1)
        return x + self.bn2(self.last(y))


class Net(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.stem, self.one, self.two, self.head = conv(3, 8), block(), block(), nn.Linear(8, 2)

    def forward(self, x):
        more = {"told": 1} if isinstance(self.one, Listed) else {}
        return self.head(self.two(self.one(self.stem(x), **more), **more).mean((2, 3)))


BLOCKS = [Dropped, DroppedByPython, Padded, Listed]


def answers(model, sides=(16, 20)):
    """In eval mode at two sizes, and three times in training, chance the same each time."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(2, 3, side, side, generator=generator) for side in sides]
    found = [model.eval()(image) for image in images]
    for seed in range(6):
        torch.manual_seed(seed)
        random.seed(seed)
        found.append(model.train()(images[0]))
    return [answer.detach() for answer in found]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_that_no_trace_can_follow_gets_attention_and_keeps_its_bits(block):
    torch.manual_seed(0)
    model = Net(block)
    plain = answers(copy.deepcopy(model))
    surgeon.inject(model.eval(), "cbam", where="residual", example_inputs=torch.zeros(2, 3, 16, 16))
    assert [(gate.site.module, gate.site.after) for gate in surgeon.attention_modules(model).values()] == [
        ("one", "bn2"),
        ("two", "bn2"),
    ]
    assert all(torch.equal(a, b) for a, b in zip(plain, answers(copy.deepcopy(model)), strict=True))


@pytest.mark.parametrize("block", BLOCKS)
def test_attention_there_is_what_it_is_behind_the_last_layer(block):
    torch.manual_seed(0)
    model = Net(block)
    by_hand = copy.deepcopy(model)
    surgeon.inject(model.eval(), "se", where="residual", init="paper", example_inputs=torch.zeros(2, 3, 16, 16))
    for name in ("one", "two"):
        gate = copy.deepcopy(model.get_submodule(name).se)
        getattr(by_hand, name).bn2.register_forward_hook(lambda module, args, result, gate=gate: gate(result))
    assert all(torch.equal(a, b) for a, b in zip(answers(by_hand), answers(model), strict=True))


@pytest.mark.parametrize("block", BLOCKS)
def test_it_is_pickled_and_taken_out(block):
    model = Net(block).eval()
    before, image = repr(model), torch.randn(2, 3, 16, 16)
    surgeon.inject(model, "cbam", where="residual", example_inputs=image)
    assert_same_bits(pickle.loads(pickle.dumps(model))(image), model(image))
    surgeon.remove(model)
    assert repr(model) == before


def test_a_forward_whose_way_depends_on_numbers_has_attention_on_each_way():
    torch.manual_seed(0)
    model = toy.Net(toy.Branching()).eval()
    image = toy.image()
    before = [model(image), model(-image)]
    surgeon.inject(model, "cbam", where="residual", example_inputs=image)
    assert [str(gate.site) for gate in surgeon.attention_modules(model).values()] == ["block: after bn"]
    assert all(torch.equal(old, model(x)) for old, x in zip(before, (image, -image), strict=True))


def test_every_branch_gate_learns_in_training():
    torch.manual_seed(3)
    model = Net(Dropped).eval()
    surgeon.inject(model, "cbam", where="residual", init="identity", example_inputs=torch.zeros(2, 3, 16, 16))
    gammas = [weight for path, weight in surgeon.attention_parameters(model).items() if path.endswith("gamma")]
    for _ in range(8):
        model.train()(torch.randn(2, 3, 16, 16)).square().mean().backward()
    assert gammas and all(weight.grad is not None and weight.grad.any() for weight in gammas)


class Repeated(Dropped):
    """One layer for two steps of a branch: behind which call attention belongs, its child can't say."""

    def forward(self, x, **kwargs):
        return x + self.last(F.relu(self.last(x)))


def test_a_layer_that_runs_twice_in_such_a_forward_is_refused_with_the_reason():
    class Twice(Net):
        def forward(self, x):
            return self.head(self.one(self.stem(x), told=1).mean((2, 3)))

    with pytest.raises(Untraceable, match=r"one: called with free arguments \*kwargs"):
        surgeon.plan(Twice(Repeated).eval(), "cbam", where="residual", example_inputs=torch.zeros(2, 3, 16, 16))
