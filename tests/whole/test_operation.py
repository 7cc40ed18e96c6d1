"""The public verbs on small networks."""

import copy
import json

import pytest
import torch
from torch import nn

import surgeon
from tests.shared import toy


def test_inject_returns_the_same_object():
    model = toy.Net()
    assert surgeon.inject(model, "cbam") is model and surgeon.remove(model) is model


def test_plan_and_apply_are_inject():
    one, other = toy.Net(), toy.Net()
    surgeon.apply(one, surgeon.plan(one, "cbam", where=["residual", "final"], reduction=4))
    surgeon.inject(other, "cbam", where=["residual", "final"], reduction=4)
    assert repr(one) == repr(other) and list(one.state_dict()) == list(other.state_dict())


def test_a_plan_goes_onto_a_copy_and_through_json():
    model = toy.Net()
    plan = surgeon.Plan.from_dict(json.loads(json.dumps(surgeon.plan(model, "cbam", reduction=4).to_dict())))
    twin = surgeon.apply(copy.deepcopy(model), plan)
    assert list(surgeon.attention_modules(twin)) == ["block.cbam"] and not surgeon.attention_modules(model)
    assert twin.block.cbam.channel.fc1.out_features == 2


def test_narrowing_a_plan():
    model = toy.Net(nn.Sequential(*(toy.Residual() for _ in range(3))))
    plan = surgeon.plan(model, toy.Mark)
    assert [site.module for site in plan.only("block.[01]").without("block.0")] == ["block.1"]
    surgeon.apply(model, plan.without("block.1"))
    assert list(surgeon.attention_modules(model)) == ["block.0.mark", "block.2.mark"]


def test_places():
    assert surgeon.places(toy.Net()) == {"residual": 1, "bottleneck": 0, "final": 1, "input": 1, "gate": 0}


EXAMPLES = [torch.zeros(1, 3, 20, 20), (torch.zeros(1, 3, 20, 20),), {"x": torch.zeros(1, 3, 20, 20)}]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_user_s(example):
    assert surgeon.plan(toy.Net(), "cbam", example_inputs=example).sites[0].size == (10, 10)


def test_a_network_that_returns_a_dict():
    model, x = toy.Returns(toy.Net(), lambda y: {"logits": y}).eval(), toy.image()
    y = model(x)["logits"]
    assert torch.equal(surgeon.inject(model, "bam", where=["residual", "final"], check="output")(x)["logits"], y)


@pytest.mark.filterwarnings("ignore::surgeon.errors.UnusedSite")  # a class token alone is read behind some of the sites
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("block", [toy.Residual, toy.Mode, toy.Tokens])
def test_gates_are_in_the_mode_of_their_owner(block, training):
    model = (toy.Tokens() if block is toy.Tokens else toy.Net(block())).train(training)
    surgeon.inject(model, "cbam", example_inputs=toy.image())
    assert {module.training for gate in surgeon.attention_modules(model).values() for module in gate.modules()} == {
        training
    }


def test_a_frozen_norm_stays_frozen():
    model = toy.FrozenBN().train()
    surgeon.inject(model, "cbam", where=["residual", "final"])
    assert not model.block.bn.training and model.block.training and model.block.cbam.training
    assert not model.train().block.bn.training


def test_frozen_weights_stay_frozen_and_new_ones_learn():
    model = toy.Net().requires_grad_(False)
    surgeon.inject(model, "cbam")
    assert {key for key, weight in model.named_parameters() if weight.requires_grad} == set(
        surgeon.attention_parameters(model)
    )


def test_hooks_stay_and_are_called():
    model, calls = toy.Net(), []
    model.block.register_forward_hook(lambda *args: calls.append("block"))
    model.block.bn.register_forward_pre_hook(lambda *args: calls.append("bn"))
    surgeon.inject(model, "cbam")
    assert calls == []
    model(toy.image())
    assert calls == ["bn", "block"]


def test_on_meta():
    model = toy.Net().to("meta")
    surgeon.inject(model, "cbam", where=["residual", "final"])
    assert all(weight.is_meta for weight in model.parameters())
    assert model.to_empty(device="cpu")(toy.image()).shape == (2, 4)


def test_building_on_meta_and_looking_there_costs_no_memory():
    with torch.device("meta"):
        wide = toy.Net(toy.Residual(20_000), channels=20_000)
    assert sum(weight.numel() for weight in wide.parameters()) > 7e9
    assert surgeon.plan(wide, "cbam").sites[0].channels == 20_000


@pytest.mark.parametrize(
    "attention", ["cbam", "bam", "se", "timm:gc", toy.Mark, lambda channels: nn.Conv2d(channels, channels, 1)]
)
def test_check_output(attention):
    model, numbers = toy.Net(), torch.get_rng_state()
    mean = model.block.bn.running_mean.clone()
    surgeon.inject(model, attention, check="output")
    assert len(surgeon.attention_modules(model)) == 1 and torch.equal(model.block.bn.running_mean, mean)
    assert numbers is not None


def test_nested_injections_with_other_options():
    model, x = toy.Net(nn.Sequential(toy.Residual(), toy.Residual())).eval(), toy.image(64)
    y = model(x)
    surgeon.inject(model, "cbam", reduction=2)
    surgeon.inject(model, "bam", where="final", reduction=4)
    surgeon.inject(model, "se", where="block.0.conv")
    assert torch.equal(model(x), y)
    assert list(surgeon.attention_modules(model)) == ["block.0.conv.se", "block.0.cbam", "block.1.cbam", "down.bam"]
    surgeon.remove(model)
    assert torch.equal(model(x), y) and repr(model) == repr(toy.Net(nn.Sequential(toy.Residual(), toy.Residual())))


def test_injecting_a_second_time_elsewhere_in_the_same_forward():
    model, x = toy.Net(toy.TwoAdds()).eval(), toy.image()
    y, plan = model(x), surgeon.plan(model, toy.Mark)
    for number in (0, 1):
        narrowed = surgeon.Plan(**{**vars(plan), "sites": plan.sites[number : number + 1]})
        surgeon.apply(model, narrowed)
    assert torch.equal(model(x), y)
    assert [gate.calls for gate in surgeon.attention_modules(model).values()] == [1, 1]


def test_a_block_that_runs_at_two_sizes_gets_one_gate():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = toy.Residual()

        def forward(self, x):
            return self.block(x) + nn.functional.interpolate(self.block(x[:, :, ::2, ::2]), scale_factor=2.0)

    model = surgeon.inject(toy.Net(Pyramid()), toy.Mark, example_inputs=toy.image(32))
    model(toy.image(32))
    assert {path: gate.calls for path, gate in surgeon.attention_modules(model).items()} == {"block.block.mark": 2}


def test_attention_put_in_under_inference_mode_can_be_trained():
    model = toy.Net()
    with torch.inference_mode():
        surgeon.inject(model, "cbam", check="output")
    model.train()(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(weight.grad is not None for weight in surgeon.attention_parameters(model).values())
