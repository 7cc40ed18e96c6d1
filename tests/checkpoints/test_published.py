"""Published weights find their gates, all of them or none."""

import pytest
import torch
from timm.layers import EcaModule, SEModule
from timm.layers.cbam import CbamModule
from torch import nn

from surgeon.attention import build
from surgeon.checkpoints.published import load_published, unwrapped
from surgeon.errors import BadFile, BadModel
from tests.shared.bits import assert_same_bits

# Keys of the official checkpoints, and what they are called here.
CBAM = {
    "ChannelGate.mlp.1.weight": "channel.fc1.weight",
    "ChannelGate.mlp.1.bias": "channel.fc1.bias",
    "ChannelGate.mlp.3.weight": "channel.fc2.weight",
    "ChannelGate.mlp.3.bias": "channel.fc2.bias",
    "SpatialGate.spatial.conv.weight": "spatial.conv.weight",
    "SpatialGate.spatial.bn.weight": "spatial.bn.weight",
    "SpatialGate.spatial.bn.bias": "spatial.bn.bias",
    "SpatialGate.spatial.bn.running_mean": "spatial.bn.running_mean",
    "SpatialGate.spatial.bn.running_var": "spatial.bn.running_var",
}
BAM_LAYERS = {
    "channel_att.gate_c.gate_c_fc_0": "channel.fc1",
    "channel_att.gate_c.gate_c_bn_1": "channel.bn1",
    "channel_att.gate_c.gate_c_fc_final": "channel.fc2",
    "spatial_att.gate_s.gate_s_conv_reduce0": "spatial.conv1",
    "spatial_att.gate_s.gate_s_bn_reduce0": "spatial.bn1",
    "spatial_att.gate_s.gate_s_conv_di_0": "spatial.conv2",
    "spatial_att.gate_s.gate_s_bn_di_0": "spatial.bn2",
    "spatial_att.gate_s.gate_s_conv_di_1": "spatial.conv3",
    "spatial_att.gate_s.gate_s_bn_di_1": "spatial.bn3",
    "spatial_att.gate_s.gate_s_conv_final": "spatial.conv4",
}


def spread(module):
    """`module` with every weight and statistic away from its start, in eval mode."""
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if "running_var" in key else torch.randn_like(tensor) * 0.5)
    return module.eval()


def network(attention, channels=32, count=1, **options):
    """Blocks with one gate each, where a network has them; `layer1.0.cbam`, `layer1.1.cbam`, ..."""
    gates = [nn.ModuleDict({attention: build(attention, channels, **options)}) for _ in range(count)]
    return nn.ModuleDict({"layer1": nn.ModuleList(gates), "fc": nn.Linear(3, 2)}).eval()


def official(model, names, there):
    """The weights of `model` under their official names, as its data-parallel checkpoints have them."""
    found = {f"module.{key}": value for key, value in spread(model).state_dict().items() if key.startswith("fc.")}
    for block in range(len(model["layer1"])):
        gate = model["layer1"][block]
        (name, gate), *_ = gate.items()
        for other, own in names.items():
            if own in gate.state_dict():
                found[f"module.{there.format(block=block, number=block + 1)}.{other}"] = gate.state_dict()[own].clone()
    return found


def bam_names():
    tensors = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{other}.{tensor}": f"{own}.{tensor}" for other, own in BAM_LAYERS.items() for tensor in tensors}


@pytest.mark.parametrize("init", ["identity", "paper"])
@pytest.mark.parametrize(
    ("attention", "names", "there"), [("cbam", CBAM, "layer1.{block}.cbam"), ("bam", bam_names(), "bam{number}")]
)
def test_an_official_checkpoint(attention, names, there, init):
    torch.manual_seed(0)
    source = network(attention, count=3, init="paper")
    weights = official(source, names, there)
    model = network(attention, count=3, init=init)
    placed = load_published(model, {"epoch": 90, "state_dict": weights})
    assert {f"module.{key}" for key in placed} == weights.keys()
    x = torch.randn(2, 32, 6, 5)
    for mine, theirs in zip(model["layer1"], source["layer1"]):
        torch.testing.assert_close(mine[attention](x), theirs[attention](x))
        assert not torch.equal(mine[attention](x), x)


@pytest.mark.parametrize("init", ["identity", "paper"])
@pytest.mark.parametrize("maps", [("max", "mean"), ("mean", "max")])
def test_timms_cbam_in_either_order_of_maps(maps, init):
    torch.manual_seed(0)
    theirs = spread(CbamModule(32))
    model = network("cbam", init=init, bias=False, maps=maps)
    fc = {key: value for key, value in model.state_dict().items() if key.startswith("fc.")}
    load_published(model, {f"layer1.0.se.{key}": value for key, value in theirs.state_dict().items()} | fc)
    x = torch.randn(2, 32, 6, 5)
    torch.testing.assert_close(model["layer1"][0]["cbam"](x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("attention", "theirs", "options"),
    [
        ("se", SEModule(128), {}),
        ("se", SEModule(48), {"divisor": 8}),
        ("eca", EcaModule(256), {}),
        ("timm:se", SEModule(32), {}),
    ],
)
def test_timms_layers(attention, theirs, options):
    torch.manual_seed(0)
    channels = getattr(theirs, "fc1", None).in_channels if hasattr(theirs, "fc1") else 256
    gate = build(attention, channels, **options)
    model = nn.ModuleDict({"block": nn.ModuleDict({"se" if "se" in attention else "eca": gate})}).eval()
    load_published(model, {f"block.se.{key}": value for key, value in spread(theirs).state_dict().items()})
    x = torch.randn(2, channels, 6, 5)
    torch.testing.assert_close(gate(x), theirs(x), rtol=1e-5, atol=1e-5)


def cbam_weights(**changes):
    weights = official(network("cbam"), CBAM, "layer1.{block}.cbam") | changes
    return {key: value for key, value in weights.items() if value is not None}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            cbam_weights(**{"module.layer9.conv.weight": torch.ones(1), "module.fc.bias": None}),
            r"^these weights are not this model's: no place for layer9\.conv\.weight; no tensor for fc\.bias\. Nothing",
        ),
        (
            cbam_weights(**{"module.layer1.0.cbam.ChannelGate.mlp.3.weight": torch.ones(32, 4)}),
            r"^these weights have other shapes .*: layer1\.0\.cbam\.channel\.fc2\.weight is 32 x 4, not 32 x 2\. Nothing",
        ),
        (
            cbam_weights(**{"module.layer1.0.se.channel.fc1.weight": torch.ones(2, 32, 1, 1)}),
            r"two tensors for layer1\.0\.cbam\.channel\.fc1\.weight",
        ),
        ({"epoch": 3}, r"^not a state dict: 'epoch' is no tensor\.$"),
        ({}, r"^a state dict without weights\.$"),
    ],
)
def test_all_or_nothing(weights, message):
    model = network("cbam")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(BadFile, match=message) as caught:
        load_published(model, weights)
    assert "\n" not in str(caught.value)
    assert_same_bits(model.state_dict(), before)


def test_a_model_on_meta_can_hold_no_weights():
    with pytest.raises(BadModel, match=r"on meta"):
        load_published(network("cbam").to("meta"), cbam_weights())


def test_a_gamma_of_the_networks_own_is_no_gate():
    """ConvNeXt calls its layer scale gamma."""
    model = network("se")
    model["layer1"][0]["gamma"] = nn.ParameterList([nn.Parameter(torch.zeros(2))])
    weights = {key: value for key, value in model.state_dict().items() if not key.endswith("se.gamma")}
    del weights["layer1.0.gamma.0"]
    with pytest.raises(BadFile, match=r"no tensor for layer1\.0\.gamma\.0\."):
        load_published(model, weights)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("box", [None, "state_dict", "model"])
def test_wrappers_come_off(prefix, box):
    weights = {f"{prefix}fc.weight": torch.zeros(1), f"{prefix}fc.bias": torch.ones(1)}
    assert unwrapped({box: weights, "epoch": 1} if box else weights) == {"fc.weight": 0, "fc.bias": 1}


@pytest.mark.parametrize("prefix", ["net.", "model.", "module.net.", "backbone.body."])
def test_a_trainers_checkpoint(prefix):
    """Lightning keeps the network as an attribute, and its losses beside it."""
    model, source = network("cbam"), spread(network("cbam"))
    weights = {f"{prefix}{key}": value.clone() for key, value in source.state_dict().items()}
    placed = load_published(model, {"state_dict": weights | {"loss.weight": torch.ones(3)}})
    assert placed.keys() == source.state_dict().keys()
    assert_same_bits(model.state_dict(), source.state_dict())
    with pytest.raises(BadFile, match="no place for layer9.weight"):
        load_published(model, {"state_dict": weights | {f"{prefix}layer9.weight": torch.ones(3)}})
