"""What was done to a network, read off the network itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from surgeon.attention import attention_modules, attention_parameters
from surgeon.attention.costs import costed_sites
from surgeon.sites import Plan, Site

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Report:
    """The attention in a network.

    gates: path of each attention module -> its Site.
    parameters: the network's weights without attention. added: those of the attention.
    macs: multiply-adds that the attention takes for one image, of the size that it was planned for.
    """

    gates: dict[str, Site]
    attention: str
    parameters: int
    added: int
    macs: int

    def __str__(self) -> str:
        if not self.gates:
            return f"no attention; {self.parameters:,} parameters"
        share = f"+{self.added / self.parameters:.2%}" if self.parameters else ""
        total = f"{self.parameters:,} parameters + {self.added:,} of attention ({share}), + {self.macs:,} MACs an image"
        return f"{Plan(self.attention, tuple(self.gates.values()))}\n{total}"


def report(model: nn.Module) -> Report:
    """What surgeon put into `model`: sites, weights and cost. Print it.

    >>> print(report(model))
    """
    gates = costed_sites(model)
    names = {gate.made["attention"] or type(gate).__name__ for gate in attention_modules(model).values() if gate.made}
    added = sum(weight.numel() for weight in attention_parameters(model).values())
    total = sum(weight.numel() for weight in model.parameters())
    macs = sum(site.macs or 0 for site in gates.values())
    return Report(gates, ", ".join(sorted(names)), total - added, added, macs)
