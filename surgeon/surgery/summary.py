"""What was done to a network, read off the network itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from surgeon.attention import attention_modules, attention_parameters
from surgeon.attention.costs import costed_sites
from surgeon.attention.opened import opened
from surgeon.errors import HardlyOpened
from surgeon.sites import COLUMNS, HARDLY, Plan, Site, opened_in_words, table

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Report:
    """The attention in a network.

    gates: path of each attention module -> its Site.
    parameters: the network's weights without attention. added: those of the attention.
    macs: multiply-adds that the attention takes for one image, of the size that it was planned for.
    opened: path of each attention module -> by what share it changes a map of noise; None where that can't be told.
    """

    gates: dict[str, Site]
    attention: str
    parameters: int
    added: int
    macs: int
    opened: dict[str, float | None] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.gates:
            return f"no attention; {self.parameters:,} parameters"
        return "\n".join([str(self._plan), self.total, opened_in_words(self.opened)])

    @property
    def total(self) -> str:
        """All sites together, in a line."""
        share = f"+{self.added / self.parameters:.2%}" if self.parameters else ""
        return f"{self.parameters:,} parameters + {self.added:,} of attention ({share}), + {self.macs:,} MACs an image"

    @property
    def _plan(self) -> Plan:
        return Plan(self.attention, tuple(self.gates.values()))

    def _repr_html_(self) -> str:
        """The report as notebooks show it: the plan, and how far each gate has opened."""
        if not self.gates:
            return f"<p>{self}"
        shares = [self.opened.get(path) for path in self.gates]
        rows = [(*row, "?" if share is None else f"{share:.2%}") for row, share in zip(self._plan.rows, shares)]
        notes = [*self._plan.notes, self.total, opened_in_words(self.opened)]
        faint = [not site.read for site in self.gates.values()]
        return table(self._plan.head, (*COLUMNS, "opened"), rows, notes, faint=faint)


def report(model: nn.Module) -> Report:
    """What surgeon put into `model`: sites, weights, cost, and how far each gate has opened. Print it.

    Warns (HardlyOpened) where training has moved gates, and none by more than a hundredth of its map.

    >>> print(report(model))
    """
    gates, moved = costed_sites(model), opened(model)
    names = {gate.made["attention"] or type(gate).__name__ for gate in attention_modules(model).values() if gate.made}
    added = sum(weight.numel() for weight in attention_parameters(model).values())
    total = sum(weight.numel() for weight in model.parameters())
    macs = sum(site.macs or 0 for site in gates.values())
    if 0 < max(filter(None, moved.values()), default=0) < HARDLY:
        warnings.warn(opened_in_words(moved), HardlyOpened, stacklevel=2)
    return Report(gates, ", ".join(sorted(names)), total - added, added, macs, moved)
