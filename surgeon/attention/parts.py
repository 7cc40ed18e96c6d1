"""What the gates of surgeon's own are made of, by name: layers with a norm behind them, and parts that give factors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from surgeon.attention.bam import BAM
from surgeon.attention.cbam import CBAM
from surgeon.attention.gate import Gate
from surgeon.attention.se import SE


@dataclass(frozen=True)
class Part:
    """What gives one kind of factors, or one factor for all.

    prefix: in front of its gamma, gain and slope.
    last: the layers that its scores come from. steep: those of them whose scores the slope multiplies.
    silent: all or any, whether all of `last` have to be 0 for the score to be 0, or one of them is enough.
    """

    prefix: str
    last: tuple[str, ...]
    steep: tuple[str, ...]
    silent: Callable[[Iterable[bool]], bool] = all


def parts_of(gate: Gate) -> list[Part]:
    """The parts of one of surgeon's own gates, in the order in which they are built."""
    if isinstance(gate, CBAM):
        last = {"channel": "fc2", "spatial": "conv"}
        there = [name for name in last if getattr(gate, name) is not None]
        return [Part(f"{name}.", (f"{name}.{last[name]}",), (f"{name}.{last[name]}",)) for name in there]
    if isinstance(gate, BAM):
        return [_part_of_bam(gate)]
    layer = ("fc2" if isinstance(gate, SE) else "conv",)
    return [Part("", layer, layer)]


def _part_of_bam(gate: BAM) -> Part:
    branches = {"channel": gate.channel, "spatial": gate.spatial}
    last = tuple(f"{name}.{branch.kind}{branch.steps}" for name, branch in branches.items() if branch is not None)
    is_product = gate.combine == "product" and len(last) > 1
    return Part("", last, last[:1] if is_product else last, any if is_product else all)


def norms_of(gate: Gate) -> dict[str, str]:
    """{layer: the norm behind it} of one of surgeon's own gates."""
    if isinstance(gate, CBAM):
        has_norm = gate.spatial is not None and gate.spatial.bn is not None
        return {"spatial.conv": "spatial.bn"} if has_norm else {}
    found = {}
    if isinstance(gate, BAM):
        for name, branch in (("channel", gate.channel), ("spatial", gate.spatial)):
            for step in range(1, branch.steps + 1 if branch is not None else 0):
                if branch is not None and hasattr(branch, f"bn{step}"):
                    found[f"{name}.{branch.kind}{step}"] = f"{name}.bn{step}"
    return found
