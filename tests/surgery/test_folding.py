"""`surgeon.fold`: gates exchanged, those that do nothing taken out, all or nothing."""

import copy

import pytest
import torch
from torch import nn

import surgeon
from surgeon.errors import BadModel, FoldedAttention
from tests.shared import toy
from tests.shared.bits import assert_same_bits


class Deep(nn.Module):
    """Two blocks with two sums each, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = toy.conv(3, 8, 2)
        self.one, self.two = toy.TwoAdds(), toy.TwoAdds()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.two(self.one(self.stem(x))).mean((2, 3)))


def network(attention="cbam", **options):
    """A network with four gates, two in each of two modules, that act."""
    torch.manual_seed(0)
    model = surgeon.inject(Deep().eval(), attention, **{"reduction": 4} | options)
    for weight in surgeon.attention_parameters(model).values():
        nn.init.normal_(weight, std=0.3)
    return model


def close(gate):
    """Let a gate with gammas pass everything."""
    for name, weight in gate.named_parameters():
        if name.endswith("gamma"):
            nn.init.zeros_(weight)


@torch.no_grad()
def answer(model):
    return model(toy.image())


PATHS = ["one.cbam", "one.cbam_1", "two.cbam", "two.cbam_1"]


def test_the_network_answers_as_before_and_is_the_same_object():
    model = network()
    expected, stock = answer(model), {key: value for key, value in model.named_parameters() if "cbam" not in key}
    assert surgeon.fold(model) is model
    torch.testing.assert_close(answer(model), expected)
    assert [*surgeon.attention_modules(model)] == PATHS and surgeon.check(model).is_whole
    assert all(dict(model.named_parameters())[key] is value for key, value in stock.items())
    assert all(gate.folded and gate.spatial.bn is None for gate in surgeon.attention_modules(model).values())
    state = copy.deepcopy(model.state_dict())
    assert_same_bits(surgeon.fold(model).state_dict(), state)


@pytest.mark.parametrize("closed", [PATHS[:1], PATHS[:2], PATHS[1:3], PATHS[:3]])
def test_gates_that_do_nothing_are_gone(closed):
    model = network(init="identity")
    for path in closed:
        close(model.get_submodule(path))
    expected = answer(model)
    surgeon.fold(model)
    torch.testing.assert_close(answer(model), expected)
    gates = surgeon.attention_modules(model)
    assert len(gates) == len(PATHS) - len(closed)
    # As in a network that is built anew with the other sites alone: the first gate of a module has the plain name.
    assert all(path.endswith(".cbam") or f"{path[:-2]}" in gates for path in gates)
    assert not surgeon.attention.lost_attention(model) and surgeon.check(model).is_whole
    again = surgeon.like(Deep().eval(), model)
    assert [*surgeon.attention_modules(again)] == [*gates]
    again.load_state_dict(model.state_dict())
    assert torch.equal(answer(again), answer(model))


def test_all_of_them_gone_leaves_the_original():
    model = surgeon.inject(Deep().eval(), "cbam")
    expected, keys = answer(model), [*Deep().state_dict()]
    surgeon.fold(model)
    assert type(model.one) is toy.TwoAdds and [*model.state_dict()] == keys
    assert torch.equal(answer(model), expected)


def test_gates_of_one_module_that_become_different():
    model = network(init="identity")
    nn.init.zeros_(model.two.cbam.channel.gamma)
    nn.init.zeros_(model.one.cbam_1.spatial.gamma)
    expected = answer(model)
    surgeon.fold(model)
    torch.testing.assert_close(answer(model), expected)
    again = surgeon.like(Deep().eval(), model)
    again.load_state_dict(model.state_dict())
    assert torch.equal(answer(again), answer(model))


def test_two_operations_stay_two():
    model = network("se")
    surgeon.inject(model, "cbam", where="one", reduction=4, init="paper")
    expected = answer(model.eval())
    surgeon.fold(model)
    torch.testing.assert_close(answer(model), expected)
    assert [plan.attention for plan in surgeon.surgery.again.plans(model)] == ["se", "cbam"]


def test_switched_off_is_nothing_as_well():
    model = network()
    model.one.cbam.enabled = False
    expected = answer(model)
    surgeon.fold(model)
    torch.testing.assert_close(answer(model), expected)
    assert len(surgeon.attention_modules(model)) == 3


def test_it_comes_out_again():
    model = network()
    original = {key: value for key, value in model.state_dict().items() if "cbam" not in key}
    surgeon.remove(surgeon.fold(model))
    assert_same_bits(dict(model.state_dict()), original)
    assert type(model.one) is toy.TwoAdds


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda model: __import__("pickle").loads(__import__("pickle").dumps(model))]
)
def test_copies_and_pickles(again):
    model = surgeon.fold(network())
    assert torch.equal(answer(again(model)), answer(model))


def test_training_a_folded_network_is_told():
    model = surgeon.fold(network())
    with pytest.warns(FoldedAttention):
        model.train()


REFUSED = {
    "nothing to fold": (lambda: Deep().eval(), "no attention to fold"),
    "in training mode": (lambda: network().train(), "one.cbam is in training mode"),
    "with a hook": (lambda: hooked(network()), "two.cbam can't be folded: its channel.fc2 has a hook"),
}


def hooked(model):
    model.two.cbam.channel.fc2.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_and_left_as_it_was(case):
    make, told = REFUSED[case]
    model = make()
    gates = surgeon.attention_modules(model)
    with pytest.raises(BadModel, match=told):
        surgeon.fold(model)
    assert surgeon.attention_modules(model) == gates


def test_published_weights_come_before():
    model = surgeon.fold(network())
    with pytest.raises(BadModel, match="load them, then fold"):
        surgeon.load_published(model, network().state_dict())


def test_a_failure_on_the_way_leaves_all_as_it_was(monkeypatch):
    model = network(init="identity")
    close(model.one.cbam)
    gates, before, told = surgeon.attention_modules(model), answer(model), model.one.cbam_1.together
    monkeypatch.setattr("surgeon.surgery.operate.perform", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        surgeon.fold(model)
    assert surgeon.attention_modules(model) == gates and model.one.cbam_1.together == told
    assert torch.equal(answer(model), before)
