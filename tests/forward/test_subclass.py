"""One-off subclasses: the same objects, the same class to everyone who asks, and away again."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

import surgeon
from surgeon.forward.grafts import Input, Output
from surgeon.forward.subclass import grafted, grafts_of, runs_any_child, takes_grafts
from tests.shared import toy


def put(module, *grafts, gate="gate"):
    """`module` with a class that calls its child `gate`."""
    module.add_module(gate, toy.Mark(8))
    module.__class__ = grafted(type(module), *grafts)
    return module


def test_it_is_what_it_was():
    block = put(toy.Residual(), Output("gate"))
    assert (
        isinstance(block, toy.Residual)
        and type(block).__name__ == "Residual"
        and type(block).__doc__ == toy.Residual.__doc__
    )
    assert grafts_of(block) == (toy.Residual, Output("gate"))


def test_equal_modules_share_a_class():
    assert grafted(toy.Residual, Output("gate")) is grafted(toy.Residual, Output("gate"))
    assert grafted(toy.Residual, Output("gate")) is not grafted(toy.InPlace, Output("gate"))
    assert grafted(toy.Residual) is toy.Residual


SHAPES = {
    "a map": (lambda x: x, None),
    "a tuple": (lambda x: (1, x, "text"), 1),
    "a list": (lambda x: [x, x + 1], 0),
    "a dict": (lambda x: {"map": x, "size": 3}, 0),
    "nested": (lambda x: {"maps": [x, (x + 1, None)]}, 1),
}


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_output(shape):
    function, index = SHAPES[shape]
    module, x = put(toy.Returns(nn.Identity(), function), Output("gate", index)), torch.ones(1, 8, 2, 2)
    assert repr(module(x)) == repr(function(x)) and module.gate.calls == 1
    module.gate.weight.data.fill_(3)
    assert repr(module(x)) != repr(function(x))


def test_input_comes_before_everything():
    module = put(nn.Sequential(nn.ReLU()), Input("gate"))
    module.gate.weight.data.fill_(-1)
    assert torch.equal(module(torch.tensor([[-2.0, 3.0]])), torch.tensor([[2.0, 0.0]]))
    assert module.gate.calls == 1


def test_input_hands_other_arguments_on():
    block = put(toy.Optional(), Input("gate")).eval()
    x = torch.ones(1, 8, 2, 2)
    assert torch.equal(block(x, None, scale=2.0), toy.Optional.forward(block, x, scale=2.0))


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList, nn.ModuleDict])
def test_containers_show_what_they_did(kind):
    parts = {"0": nn.ReLU(), "1": nn.Identity()}
    plain = (
        kind(parts)
        if kind is nn.ModuleDict
        else kind([*parts.values()])
        if kind is nn.ModuleList
        else kind(*parts.values())
    )
    before = len(plain), list(plain)
    container = put(plain, Output("gate"))
    assert (len(container), list(container)) == before
    assert "gate" in dict(container.named_children()) and "gate.weight" in container.state_dict()
    if kind is nn.ModuleDict:
        assert (
            list(container.keys()) == ["0", "1"]
            and list(container.values()) == [*parts.values()]
            and list(container.items()) == [*parts.items()]
        )
    else:
        assert container[-1] is parts["1"] and list(container[:1]) == [parts["0"]]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), copy.copy])
def test_copies_keep_the_class(again):
    block = put(toy.Residual(), Output("gate")).eval()
    twin, x = again(block), torch.ones(1, 8, 2, 2)
    assert type(twin) is type(block) and torch.equal(twin(x), block(x))


def test_a_traceback_shows_the_rewritten_line():
    model = surgeon.inject(toy.Net(), toy.Mark)
    with pytest.raises(RuntimeError) as caught:
        model.block(torch.zeros(1, 3, 4, 4))
    assert any(
        "self.conv(x)" in line for entry in inspect.getinnerframes(caught.tb) for line in entry.code_context or ()
    )


class PassesOn(nn.Module):
    def forward(self, x):
        return self.helper(x)

    def helper(self, x):
        return [child(x) for child in self.children()]


@pytest.mark.parametrize(
    ("module", "does"),
    [(PassesOn(), True), (nn.Sequential(), False), (toy.Residual(), False), (nn.ModuleDict(), False)],
)
def test_runs_any_child(module, does):
    assert runs_any_child(module) is does


def test_takes_grafts():
    patched = toy.Residual()
    patched.forward = lambda x: x
    assert takes_grafts(toy.Residual())
    assert not takes_grafts(patched) and not takes_grafts(torch.fx.symbolic_trace(toy.Residual()))
