"""What others call the weights that surgeon's gates hold.

Two families of names: the official CBAM and BAM code, and timm, whose networks call every attention `se`.
"""

from surgeon.attention.bam import BAM
from surgeon.attention.cbam import CBAM
from surgeon.attention.foreign import Foreign
from surgeon.attention.se import SE


def published_names(gates):
    """Every name that a weight of `gates` may have in a published file.

    Args:
        gates: `{path: gate}`, in the network's own order.

    Returns: `{published key: (own key, order)}`, where `order` is None or the order in which the weight's input
    channels have to be taken.
    """
    names = {}
    bams = [path for path, gate in gates.items() if isinstance(gate, BAM)]
    for path, gate in gates.items():
        owner, dot, _ = path.rpartition(".")
        prefixes = [path, f"{owner}{dot}se"] + ([f"bam{bams.index(path) + 1}"] if path in bams else [])
        for key in gate.state_dict():
            for other, order in _others(gate, key):
                for prefix in prefixes:
                    names.setdefault(f"{prefix}.{other}", (f"{path}.{key}", order))
    return names


def gammas(gates):
    """The keys of the gammas and gains of `gates`, which no published file holds; all of them are 1 in the published module."""
    keys = [(path, key) for path, gate in gates.items() for key in gate.state_dict()]
    return {f"{path}.{key}" for path, key in keys if key.endswith(("gamma", "gain")) and not key.startswith("inner.")}


def _others(gate, key):
    layer, _, tensor = key.rpartition(".")
    own = key.removeprefix("inner.") if isinstance(gate, Foreign) else key
    return [(own, None)] + [(f"{other}.{tensor}", order) for other, order in _layers(gate).get(layer, [])]


def _layers(gate):
    """`{own layer: [(name elsewhere, order of its input channels)]}` for one gate."""
    if isinstance(gate, SE):
        return {"fc1": [("fc.0", None)], "fc2": [("fc.2", None)]}
    if isinstance(gate, CBAM):
        return _cbam_layers(gate)
    return _bam_layers(gate) if isinstance(gate, BAM) else {}


def _cbam_layers(gate):
    layers = {"channel.fc1": [("ChannelGate.mlp.1", None)], "channel.fc2": [("ChannelGate.mlp.3", None)]}
    if gate.spatial is None or "conv" in gate.spatial.maps or len(gate.spatial.maps) != 2:
        return layers
    # The official convolution sees the maximum first, timm's the mean; a swap goes unnoticed by every shape.
    official = [("max", "mean").index(name) for name in gate.spatial.maps]
    timm = [("mean", "max").index(name) for name in gate.spatial.maps]
    layers["spatial.conv"] = [("SpatialGate.spatial.conv", official), ("spatial.conv.conv", timm)]
    layers["spatial.bn"] = [("SpatialGate.spatial.bn", None), ("spatial.conv.bn", None)]
    return layers


def _bam_layers(gate):
    names = {}
    channel, spatial = "channel_att.gate_c.gate_c", "spatial_att.gate_s.gate_s"
    last = 0 if gate.channel is None else gate.channel.steps
    for step in range(1, last + 1):
        names[f"channel.fc{step}"] = f"{channel}_fc_" + ("final" if step == last else str(step - 1))
        names[f"channel.bn{step}"] = f"{channel}_bn_{step}"
    last = 0 if gate.spatial is None else gate.spatial.steps
    for step in range(1, last + 1):
        which = "reduce0" if step == 1 else f"di_{step - 2}"
        names[f"spatial.conv{step}"] = f"{spatial}_conv_" + ("final" if step == last else which)
        names[f"spatial.bn{step}"] = f"{spatial}_bn_{which}"
    return {own: [(other, None)] for own, other in names.items()}
