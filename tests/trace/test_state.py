"""A look leaves nothing behind: no cache, no count, no statistics, no random numbers used up."""

import random
from collections import OrderedDict, defaultdict

import pytest
import torch
from torch import nn

import surgeon
from surgeon.trace.state import preserved, same_numbers
from tests.shared import toy


class Leaves(toy.Residual):
    """A forward that leaves something everywhere."""

    def __init__(self):
        super().__init__()
        self.count, self.cache, self.seen, self.names = 0, {}, [], {"a"}
        self.by_name = defaultdict(list)
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, x):
        self.count += 1
        self.table = torch.ones(1, device=x.device)
        self.cache[tuple(x.shape)] = self.table
        self.seen.append(x)
        self.names.add("b")
        self.by_name["x"].append(1)
        self.steps = self.steps + 1
        random.random()
        return super().forward(x) + 0 * torch.rand(1).to(x.device)


def everything(module):
    return {key: (id(value), repr(value)) for key, value in vars(module).items()}


def test_what_a_forward_leaves_is_taken_back():
    block = Leaves()
    before = everything(block)
    with preserved(block):
        block(torch.zeros(2, 8, 4, 4))
        assert everything(block) != before
    # One level deep: what lies inside a list inside a dict is not looked for.
    before.pop("by_name"), block.by_name.clear()
    assert {key: everything(block)[key] for key in before} == before and not hasattr(block, "table")


def test_an_error_inside_is_no_excuse():
    block = Leaves()
    with pytest.raises(KeyError), preserved(block):
        block.count = 5
        raise KeyError
    assert block.count == 0


def test_hooks_and_children_are_among_it():
    model = toy.Net()
    before = everything(model)
    with preserved(model):
        model.register_forward_hook(print)
        model.extra = nn.ReLU()
        del model.fc
    assert everything(model) == before and isinstance(model._modules, dict | OrderedDict)


def drawn():
    """What comes next after random numbers were drawn inside."""
    random.seed(0), torch.manual_seed(0)
    with same_numbers():
        random.random(), torch.rand(3)
    return random.random(), float(torch.rand(1))


def test_no_random_number_is_used_up(monkeypatch):
    monkeypatch.setattr("threading.active_count", lambda: 1)
    assert drawn() == (random.Random(0).random(), float(torch.rand(1, generator=torch.Generator().manual_seed(0))))


def test_numbers_of_other_threads_do_not_come_twice(monkeypatch):
    monkeypatch.setattr("threading.active_count", lambda: 2)
    later = random.Random(0)
    later.random()
    assert drawn()[0] == later.random()


class NeedsNumbers(toy.Residual):
    """A plain tensor in the way of a run on meta, and a forward that differs in train mode."""

    def __init__(self):
        super().__init__()
        self.scale = torch.ones(8, 1, 1)

    def forward(self, x):
        y = self.bn(self.conv(x)) * self.scale
        return (nn.functional.dropout(y) if self.training else y) + x


def test_a_look_with_real_numbers(monkeypatch):
    monkeypatch.setattr("threading.active_count", lambda: 1)
    model = toy.Net(NeedsNumbers()).train()
    bn, numbers, version = model.block.bn, torch.get_rng_state(), model.block.bn.running_mean._version
    assert len(surgeon.plan(model, "cbam")) == 1
    assert bn.num_batches_tracked == 0 and not bn.running_mean.any() and bn.running_mean._version == version
    assert torch.equal(torch.get_rng_state(), numbers) and all(module.training for module in model.modules())
