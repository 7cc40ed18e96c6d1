"""What others call the weights that surgeon's gates hold.

Two families of names: the official CBAM and BAM code, and timm, whose networks call every attention `se`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from surgeon.attention.bam import BAM
from surgeon.attention.cbam import CBAM
from surgeon.attention.foreign import Foreign
from surgeon.attention.gate import Gate
from surgeon.attention.se import SE


class Place(NamedTuple):
    """Where a published tensor goes: a key of the model, and its input channels' order there (None: as is)."""

    key: str
    order: list[int] | None = None


class Published(NamedTuple):
    """What a layer or a tensor is called elsewhere, and the order in which its input channels have to be taken."""

    name: str
    order: list[int] | None = None


def published_names(gates: Mapping[str, Gate]) -> dict[str, Place]:
    """Every name that a weight of `gates` may have in a published file, and the weight's place in the network.

    Args:
        gates: `{path: gate}`, in the network's own order.
    """
    places: dict[str, Place] = {}
    bams = [path for path, gate in gates.items() if isinstance(gate, BAM)]
    for path, gate in gates.items():
        owner, dot, _ = path.rpartition(".")
        prefixes = [path, f"{owner}{dot}se"]
        if path in bams:
            prefixes.append(f"bam{bams.index(path) + 1}")
        for key in gate.state_dict():
            for name, order in _names_of(gate, key):
                for prefix in prefixes:
                    places.setdefault(f"{prefix}.{name}", Place(f"{path}.{key}", order))
    return places


def gammas(gates: Mapping[str, Gate]) -> set[str]:
    """The keys of what says how far `gates` act, which no published file holds; a published module has 1 for each."""
    keys = [(path, key) for path, gate in gates.items() for key in gate.state_dict() if not key.startswith("inner.")]
    return {f"{path}.{key}" for path, key in keys if key.endswith(("gamma", "gain", "slope", "share"))}


def _names_of(gate: Gate, key: str) -> list[Published]:
    """What the tensor `key` of `gate` may be called: as here, and as elsewhere."""
    layer, _, tensor = key.rpartition(".")
    own = key.removeprefix("inner.") if isinstance(gate, Foreign) else key
    elsewhere = [Published(f"{other.name}.{tensor}", other.order) for other in _layers(gate).get(layer, [])]
    return [Published(own), *elsewhere]


def _layers(gate: Gate) -> dict[str, list[Published]]:
    """`{own layer: what it is called elsewhere}` for one gate."""
    if isinstance(gate, SE):
        return {"fc1": [Published("fc.0")], "fc2": [Published("fc.2")]}
    if isinstance(gate, CBAM):
        return _cbam_layers(gate)
    return _bam_layers(gate) if isinstance(gate, BAM) else {}


def _cbam_layers(gate: CBAM) -> dict[str, list[Published]]:
    layers = {"channel.fc1": [Published("ChannelGate.mlp.1")], "channel.fc2": [Published("ChannelGate.mlp.3")]}
    if gate.spatial is None or "conv" in gate.spatial.maps or len(gate.spatial.maps) != 2:
        return layers
    # The official convolution sees the maximum first, timm's the mean; a swap goes unnoticed by every shape.
    official = [("max", "mean").index(name) for name in gate.spatial.maps]
    timm = [("mean", "max").index(name) for name in gate.spatial.maps]
    layers["spatial.conv"] = [Published("SpatialGate.spatial.conv", official), Published("spatial.conv.conv", timm)]
    layers["spatial.bn"] = [Published("SpatialGate.spatial.bn"), Published("spatial.conv.bn")]
    return layers


def _bam_layers(gate: BAM) -> dict[str, list[Published]]:
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
    return {own: [Published(other)] for own, other in names.items()}
