"""Networks that merge their layers for deployment give the same answers with attention, before and after."""

import copy

import pytest
import timm
import torch
from torch import nn

import surgeon

pytestmark = pytest.mark.network


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, in parts of the largest number."""
    return ((one - other).abs().max() / other.abs().max()).item()


def network(name):
    """Random weights, with norms that do something."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if type(module).__name__ == "LayerScale2d":
            # Its start of 1e-5 would hide whatever goes wrong in front of it.
            nn.init.uniform_(module.gamma, 0.5, 1.5)
    return model


# All places of the network whose blocks change most, and of the others each place at least once.
CASES = [("shvit_s1", "residual"), ("shvit_s1", "bottleneck"), ("shvit_s1", "final"), ("fastvit_t8", "residual")]
CASES += [
    ("mobileone_s0", "bottleneck"),
    ("mobileone_s0", "residual"),
    ("repvgg_a0", "final"),
    ("levit_128s", "residual"),
]


@torch.no_grad()
@pytest.mark.parametrize(("name", "where"), CASES)
def test_reparameterize_model(name, where):
    model = network(name)
    if not surgeon.places(model)[where]:
        # RepVGG's and MobileOne's branches are merged into one convolution: no residual blocks.
        assert where == "residual" and name in ("mobileone_s0", "repvgg_a0")
        return
    image = torch.randn(1, 3, *model.default_cfg["input_size"][1:])
    stock = model(image)
    surgeon.inject(model, "cbam", where=where, init="paper")
    expected, gates = model(image), list(surgeon.attention_modules(model))
    merged = timm.utils.reparameterize_model(copy.deepcopy(model))
    assert relative(expected, stock) > 0.01
    assert relative(merged(image), expected) < 1e-4
    assert list(surgeon.attention_modules(merged)) == gates
    # Something was merged.
    assert len(list(merged.modules())) < len(list(model.modules()))
