"""Trained weights under the names that the authors of CBAM and BAM gave them."""

import torch

OFFICIAL = {
    "cbam.channel.fc1": "cbam.ChannelGate.mlp.1",
    "cbam.channel.fc2": "cbam.ChannelGate.mlp.3",
    "cbam.spatial.conv": "cbam.SpatialGate.spatial.conv",
    "cbam.spatial.bn": "cbam.SpatialGate.spatial.bn",
    "bam.channel.fc1": "channel_att.gate_c.gate_c_fc_0",
    "bam.channel.bn1": "channel_att.gate_c.gate_c_bn_1",
    "bam.channel.fc2": "channel_att.gate_c.gate_c_fc_final",
    "bam.spatial.conv1": "spatial_att.gate_s.gate_s_conv_reduce0",
    "bam.spatial.bn1": "spatial_att.gate_s.gate_s_bn_reduce0",
    "bam.spatial.conv2": "spatial_att.gate_s.gate_s_conv_di_0",
    "bam.spatial.bn2": "spatial_att.gate_s.gate_s_bn_di_0",
    "bam.spatial.conv3": "spatial_att.gate_s.gate_s_conv_di_1",
    "bam.spatial.bn3": "spatial_att.gate_s.gate_s_bn_di_1",
    "bam.spatial.conv4": "spatial_att.gate_s.gate_s_conv_final",
}


def official_key(key: str) -> str:
    """`layer1.0.cbam.channel.fc1.weight`, or `layer2.bam.channel.fc1.weight`, as the official networks call it."""
    for own, other in OFFICIAL.items():
        head, found, tail = key.partition(f".{own}.")
        if found:
            head = head.replace("layer", "bam") if own.startswith("bam") else head
            return f"module.{head}.{other}.{tail}"
    return f"module.{key}"


def spread(model: torch.nn.Module) -> torch.nn.Module:
    """`model` with every weight and statistic a little away from its start."""
    torch.manual_seed(0)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor += torch.rand_like(tensor) * 0.1 if "running_var" in key else torch.randn_like(tensor) * 0.05
    return model
