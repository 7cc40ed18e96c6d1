"""Putting gates in and taking them out: all or nothing."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import surgeon
from surgeon.errors import BadModel, BadPlan, CheckFailed, NoSite, Untraceable
from surgeon.surgery import splice
from tests.shared import toy


def moved(model, **changes):
    """A plan for `model` whose only site is changed."""
    plan = surgeon.plan(model, toy.Mark)
    return replace(plan, sites=(replace(plan.sites[0], **changes),))


def told(model, plan):
    with pytest.raises(BadPlan) as caught:
        surgeon.apply(model, plan)
    return str(caught.value)


def test_names_that_the_model_does_not_have():
    model = toy.Net()
    assert told(model, moved(model, module="blok")) == "this model has no module 'blok'. Did you mean 'block'?"
    line = told(model, moved(model, after="bn2"))
    assert line.startswith("block: nothing in its forward is called 'bn2'. Did you mean 'bn'? Known: ")
    assert not surgeon.attention_modules(model) and type(model.block) is toy.Residual


def test_a_taken_name_gets_a_number():
    model = toy.Net()
    model.block.mark, model.block.mark_1 = "taken", nn.ReLU()
    surgeon.inject(model, toy.Mark)
    assert list(surgeon.attention_modules(model)) == ["block.mark_2"] and model.block.mark == "taken"


def test_a_sequential_keeps_its_class():
    model = surgeon.inject(toy.Net(), toy.Mark, where="final")
    assert type(model.down) is nn.Sequential and list(model.down._modules) == ["0", "1", "mark"]


def test_sites_of_one_module_are_done_together():
    model = toy.Net(toy.TwoAdds())
    plan = surgeon.plan(model, toy.Mark, where=["block.**", "residual"])
    # What `block.first` returns is the branch of the first add: one value, one site.
    assert [str(site) for site in plan] == [
        "block.first: after output",
        "block.second: after output",
        "block: after output",
    ]
    surgeon.apply(model, plan)
    model(toy.image())
    assert [gate.calls for gate in surgeon.attention_modules(model).values()] == [1, 1, 1]


def test_a_glob_leaves_attention_out():
    model = surgeon.inject(toy.Net(), toy.Mark)
    assert len(surgeon.plan(model, toy.Mark, where="block.c*")) == 1
    with pytest.raises(NoSite, match=r"'block.\*a\*' matches no module that runs"):
        surgeon.plan(model, toy.Mark, where="block.*a*")


def test_the_same_place_in_both_modes():
    model = surgeon.inject(toy.Net(toy.Mode()), toy.Mark)
    for training in (True, False):
        model.train(training)(toy.image())
    assert surgeon.attention_modules(model)["block.mark"].calls == 2


def test_modes_in_which_the_place_can_t_be_told():
    class Differs(toy.Residual):
        def forward(self, x):
            y = self.bn(self.conv(x)) * 2
            return (y * 3 if self.training else y) + x

    model = toy.Net(Differs())
    with pytest.raises(Untraceable) as caught:
        surgeon.inject(model, toy.Mark)
    assert str(caught.value) == "block: train and eval graphs differ at 'mul'; rewriting would freeze one of them."


def test_remove_gives_back_what_was_there():
    model = toy.Net(toy.TwoAdds())
    children, kinds = [*model.block._modules], [type(module) for module in model.modules()]
    for where in ("residual", "final", "input", "block.first*", "*block"):
        surgeon.inject(model, toy.Mark, where=where)
    assert splice.remove(model) == 6 and splice.remove(model) == 0
    assert [*model.block._modules] == children and [type(module) for module in model.modules()] == kinds


def test_remove_leaves_the_user_s_own_gates():
    model = toy.Net()
    model.block.mine = toy.Mark(8)
    surgeon.inject(model, toy.Mark)
    surgeon.remove(model)
    assert list(surgeon.attention_modules(model)) == ["block.mine"]


def test_a_class_put_on_top_later_is_not_lost():
    model = surgeon.inject(toy.Net(), toy.Mark, where="block.conv")
    parametrizations.weight_norm(model.block.conv)
    with pytest.raises(BadModel) as caught:
        surgeon.remove(model)
    assert (
        str(caught.value)
        == "block.conv: its class was changed after surgeon's operation (to ParametrizedConv2d); undo that first."
    )
    nn.utils.parametrize.remove_parametrizations(model.block.conv, "weight")
    surgeon.remove(model)
    assert type(model.block.conv) is nn.Conv2d


@pytest.mark.parametrize(
    "wrap", [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal]
)
@pytest.mark.parametrize("where", ["residual", "block.conv"])
def test_parametrized_layers(where, wrap):
    model, x = toy.Net(), toy.image()
    wrap(model.block.conv)
    kind, y = type(model.block.conv), model.eval()(x)
    surgeon.inject(model, "cbam", where=where)
    assert torch.equal(model(x), y) and nn.utils.parametrize.is_parametrized(model.block.conv)
    surgeon.remove(model)
    assert type(model.block.conv) is kind and torch.equal(model(x), y)


@torch.no_grad()
@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("where", ["residual", "stem.0", "input"])
def test_a_parametrization_is_taken_off_and_the_attention_stays(where, copied):
    model, x = toy.Net().eval(), toy.image()
    for name in ("stem.0", "block.conv"):
        parametrizations.weight_norm(model.get_submodule(name))
    surgeon.inject(model, "cbam", where=where, init="paper")
    surgeon.inject(model, "se", where="block.conv", init="paper")
    y = model(x)
    with pytest.raises(AssertionError), surgeon.disabled(model):
        torch.testing.assert_close(model(x), y)
    second = copy.deepcopy(model) if copied else model
    for name in ("stem.0", "block.conv"):
        nn.utils.parametrize.remove_parametrizations(second.get_submodule(name), "weight")
    assert torch.equal(second(x), y) and len(surgeon.attention_modules(second)) == 2
    surgeon.remove(second)
    assert type(second.block.conv) is nn.Conv2d and not nn.utils.parametrize.is_parametrized(second.block.conv)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_made_by_a_hook(wrap):
    model, x = toy.Net(), toy.image()
    wrap(model.block.conv)
    y = model.eval()(x)
    assert torch.equal(surgeon.inject(model, "cbam")(x), y)


def test_stitches_are_counted():
    model = surgeon.inject(toy.Net(), toy.Mark)
    gates = {gate.site: gate for gate in surgeon.attention_modules(model).values()}
    splice.count_stitches(model, gates)
    model.block.again = model.block.mark
    with pytest.raises(CheckFailed, match="block: after bn: the attention is there 2 times, not once."):
        splice.count_stitches(model, gates)
    del model.block.again, model.block._modules["mark"]
    with pytest.raises(CheckFailed, match="0 times"):
        splice.count_stitches(model, gates)
