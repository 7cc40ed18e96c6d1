"""Explanations say what the rules really did, and point at the model's own code."""

import inspect

import pytest
import timm
import torch
import torchvision
from torch import nn

import surgeon
from surgeon.errors import BadInput, UnknownName
from surgeon.rulebook.explain import explain
from tests.shared import toy

pytestmark = pytest.mark.network


def line_in(function, text):
    """`file:number` of the line of `function` that contains `text`."""
    lines, first = inspect.getsourcelines(function)
    offset = next(i for i, line in enumerate(lines) if text in line)
    return f"{inspect.getsourcefile(function)}:{first + offset}"


def test_a_find_and_where_attention_goes():
    told = explain(torchvision.models.resnet18(), "residual")
    assert [case.site.module for case in told.found] == [f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)]
    assert not told.near_misses
    where = line_in(torchvision.models.resnet.BasicBlock.forward, "out += identity")
    lines = str(told).splitlines()
    assert lines[0] == "residual in ResNet: 8 found, 0 looked at and not taken"
    assert lines[3:8] == [
        "found: 8 x layer1.0, layer1.1, layer2.0, layer2.1, ... (8 modules)",
        f"    {where}: out += identity",
        "    yes  op: add  (made by add)",
        "    yes  from: branch, shortcut  ('bn2' (4 layers with weights) and 'what it was given' (0 layers with weights))",
        "    ->   attention after bn2 of layer1.0, layer1.1, layer2.0, layer2.1, ... (8 modules)",
    ]


def test_a_near_miss_names_the_word_the_node_and_the_line():
    told = explain(torchvision.models.resnet50(), "bottleneck")
    assert [case.site.module for case in told.found] == ["layer1", "layer2", "layer3"]
    missed = {case.step: (case.failed.word, case.failed.why, str(case.line)) for case in told.near_misses}
    line = lambda text: line_in(torchvision.models.ResNet._forward_impl, text)
    assert missed == {
        "the call of conv1": ("beyond", "it is the image itself", line("self.conv1(x)")),
        "the call of maxpool": ("beyond", "still the stem's", line("self.maxpool(x)")),
        "the call of avgpool": ("into", "goes into avgpool, which ends the map", line("self.avgpool(x)")),
    }


def test_inner_adds_are_told_apart():
    told = explain(timm.create_model("res2net50_26w_4s"), "residual")
    assert len(told.found) == 16 and len(told.near_misses) == 24
    assert {(case.failed.word, case.failed.why) for case in told.near_misses} == {
        ("keep", "it lies inside the branch of another one, or around several blocks")
    }
    assert {case.line.text for case in told.near_misses} == {"sp = sp + spx[i]"}


def test_a_network_with_nothing_to_look_at_says_what_it_does_instead():
    told = explain(torchvision.models.vgg11(), "residual")
    assert not told.cases
    assert str(told).endswith(
        "The operators of this network: adaptive_avg_pool2d, conv2d, dropout, flatten, linear, max_pool2d, relu."
    )


def test_a_forward_that_can_not_be_rewritten_shows_its_line_and_what_to_do():
    told = explain(toy.Net(toy.Squashing()), "residual", example_inputs=toy.image())
    (case,) = told.found
    assert case.site is None
    assert line_in(toy.Squashing.forward, "if x.sum() > 0") in case.trouble
    assert "What to do: choose a module whose output it is" in str(told)


@pytest.mark.parametrize(
    "block, why",
    [
        (lambda x, conv: conv(x) + torch.zeros(8, 1, 1), "one of them does not depend on the image"),
        (lambda x, conv: conv(x) + x.mean((2, 3), keepdim=True), "their shapes differ, (2, 8, 8, 8) and (2, 8, 1, 1)"),
        (lambda x, conv: conv(x) + conv(x), "as much is learned on the one way as on the other"),
        (lambda x, conv: conv(x) + 1, "1 tensor and a number, where two are added"),
        (
            lambda x, conv: conv(conv(conv(conv(x)))) + conv(conv(conv(x))),
            "3 layers with a kernel on the way of the shortcut",
        ),
    ],
)
def test_why_an_add_joins_no_branch(block, why):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = toy.conv(8, 8)

        def forward(self, x):
            return block(x, self.conv)

    told = explain(toy.Net(Block()), "residual", example_inputs=toy.image())
    (case,) = told.near_misses
    assert case.failed.word == "from" and why in case.failed.why and "test_explain.py" in case.line.file


def test_keep_is_a_word_too(tmp_path):
    file = tmp_path / "first_pool.yaml"
    file.write_text("id: last_shrink\nabout: The last map that is made smaller.\nfind: {into: smaller, keep: last}\n")
    told = explain(torchvision.models.resnet50(), file)
    assert [case.site.module for case in told.found] == ["layer3"]
    assert [case.failed.why for case in told.near_misses if case.failed.word == "keep"] == [
        "another one comes after it"
    ] * 4


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vgg11_bn", "swin_t"])
def test_an_explanation_finds_what_the_operation_finds(name):
    model = torchvision.models.get_model(name)
    counts = surgeon.places(model)
    assert {where: len(explain(model, where).found) for where in counts} == counts


def test_nothing_is_changed_by_explaining():
    model = torchvision.models.resnet18()
    before = {key: (id(tensor), tensor._version) for key, tensor in model.state_dict(keep_vars=True).items()}
    classes = [type(module) for module in model.modules()]
    explain(model, "residual")
    assert {key: (id(tensor), tensor._version) for key, tensor in model.state_dict(keep_vars=True).items()} == before
    assert [type(module) for module in model.modules()] == classes and model.training


def test_refusals():
    with pytest.raises(UnknownName, match="Did you mean 'residual'?"):
        explain(torchvision.models.resnet18(), "residul")
    with pytest.raises(BadInput, match="takes no image|can't guess an input|does not run"):
        explain(nn.Linear(3, 3), "residual")
