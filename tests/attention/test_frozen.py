"""Norms that somebody freezes inside attention: what starts at 0 would stay there, and that is told."""

import warnings

import pytest
import torch
from timm.layers import freeze_batch_norm_2d
from torch import nn

from surgeon.attention import build
from surgeon.errors import FrozenAtZero, NoDirection


def flags_off(module):
    """As loops over a network's norms freeze them by hand."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval().requires_grad_(False)


FREEZING = {"timm's": freeze_batch_norm_2d, "by hand": flags_off}
ways = pytest.mark.parametrize("way", FREEZING)


def backward(gate):
    gate(torch.randn(4, 16, 6, 6)).square().mean().backward()
    return gate


@ways
@pytest.mark.parametrize(
    ("name", "init", "options"),
    [
        ("cbam", "paper", {}),
        ("cbam", "neutral", {}),
        ("cbam", "eager", {}),
        ("bam", "neutral", {"form": "paper", "reduction": 2}),
    ],
)
def test_a_norm_that_is_frozen_at_0_is_told_once(name, init, options, way):
    gate = build(name, 16, init=init, **options)
    FREEZING[way](gate)
    with pytest.warns(FrozenAtZero, match=r"^a norm inside attention is frozen .* before surgeon\.inject, or inject"):
        backward(gate)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        backward(gate)
    assert not told
    # What is told is so.
    assert not gate.get_submodule("spatial.conv" if name == "cbam" else "spatial.conv1").weight.grad.any()


@ways
@pytest.mark.parametrize(
    ("name", "init", "options"),
    [("cbam", "identity", {}), ("cbam", "paper", {"norm": False}), ("bam", "neutral", {}), ("bam", "paper", {})],
)
def test_others_are_frozen_without_a_word(name, init, options, way):
    gate = build(name, 16, init=init, reduction=2, **options)
    FREEZING[way](gate)
    backward(gate)


def test_a_norm_that_learns_and_a_gate_that_is_frozen_whole_say_nothing():
    backward(build("cbam", 16, init="paper"))
    x = torch.randn(4, 16, 6, 6, requires_grad=True)
    frozen = freeze_batch_norm_2d(build("cbam", 16, init="paper", branches="spatial").requires_grad_(False))
    with torch.no_grad():
        frozen(x)


@ways
def test_trained_norms_are_frozen_without_a_word(way):
    gate = build("cbam", 16, init="paper")
    nn.init.constant_(gate.spatial.bn.weight, 0.1)
    FREEZING[way](gate)
    assert backward(gate).spatial.conv.weight.grad.any()


def test_what_was_asked_is_no_setting():
    """A file holds what somebody set, and not what surgeon notes for itself."""
    from surgeon.networks.settings import changed

    gate = build("cbam", 16)
    flags_off(gate)
    backward(gate)
    assert vars(gate.spatial.bn)["was_asked"] and changed(gate, build("cbam", 16)) == {}


def test_ensembles_of_frozen_gates_run():
    """Inside torch.func's transforms no number can be asked for."""
    gates = [build("cbam", 16) for _ in range(2)]
    for gate in gates:
        flags_off(gate)
        gate.eval()
    weights, buffers = torch.func.stack_module_state(gates)
    x = torch.randn(2, 16, 6, 6)

    def loss(weights, buffers):
        return torch.func.functional_call(gates[0], (weights, buffers), (x,)).square().mean()

    grads = torch.func.vmap(torch.func.grad(loss))(weights, buffers)
    assert grads["spatial.gamma"].shape == (2, 1)


@pytest.mark.parametrize(
    "norm", [torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.parametrizations.spectral_norm]
)
def test_a_norm_of_a_weight_that_is_0_is_told_once(norm):
    gate, x = build("se", 8, init="eager").train(), torch.randn(2, 8, 4, 4, requires_grad=True)
    norm(gate.fc2)
    with pytest.warns(NoDirection, match="weight of 0"):
        gate(x)
    gate(x)


def test_norms_of_other_weights_are_not_told_of():
    gate, x = build("se", 8, init="identity").train(), torch.randn(2, 8, 4, 4, requires_grad=True)
    torch.nn.utils.parametrizations.weight_norm(gate.fc2)
    gate(x)
