"""Sites whose map the output does not depend on: said when planning, and true of the gradients."""

import warnings

import pytest
import timm
import torch

import surgeon
from surgeon import cli
from surgeon.errors import UnusedSite

pytestmark = pytest.mark.network

# With a class token alone, class and distillation tokens, registers; pooled over the map; with class attention.
NETWORKS = {
    "test_vit": 160,
    "test_vit2": 160,
    "test_vit4": 160,
    "deit_tiny_distilled_patch16_224": 224,
    "pit_ti_distilled_224": 224,
    "vit_tiny_r_s16_p8_224": 224,
    "test_vit3": 160,
    "cait_xxs24_224": 224,
    "crossvit_9_240": 240,
    "test_resnet": 160,
}
# Older releases of timm have fewer.
NETWORKS = {name: side for name, side in NETWORKS.items() if timm.is_model(name)}
PLACES = ["residual", "final"]


def idle(model, side):
    """Paths of the gates whose gradient is exactly zero, on weights none of which is zero."""
    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    model.eval()(torch.randn(2, 3, side, side)).square().mean().backward()
    gates = surgeon.attention_modules(model)
    return {
        str(gate.site)
        for gate in gates.values()
        if not any(w.grad is not None and w.grad.any() for w in gate.parameters())
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_said_is_what_the_gradients_say(name):
    model = timm.create_model(name, num_classes=5)
    plan = surgeon.plan(model, "cbam", where=PLACES)
    surgeon.apply(model, plan)
    assert {str(site) for site in plan if not site.read} == idle(model, NETWORKS[name])


def test_a_plan_says_it():
    plan = surgeon.plan(timm.create_model("test_vit"), "cbam", where=PLACES)
    assert [site.module for site in plan if not site.read] == ["blocks.5"] * 3
    assert str(plan).endswith(
        "note: the network's output does not depend on the map at 3 of these 13 sites (blocks.5): behind it only a class token is read."
    )
    assert surgeon.Plan.from_dict(plan.to_dict()).notes == plan.notes


def test_attention_that_could_never_learn_is_warned_of():
    with pytest.warns(UnusedSite, match=r"does not depend on the map at any of these sites \(blocks.5\)") as caught:
        surgeon.inject(timm.create_model("test_vit"), "cbam", where="final")
    assert caught[0].filename == __file__


def test_the_command_prints_it_once(capsys):
    with warnings.catch_warnings(record=True) as caught:
        assert cli.run(["plan", "timm:test_vit", "--attention", "cbam", "--where", "final"]) == 0
    assert not caught
    assert capsys.readouterr().out.count("behind it only a class token is read") == 1
