"""What a page says of time and memory, where somebody asked for it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from surgeon.attention import attention_modules
from surgeon.operation import apply
from surgeon.pages.evidence.measuring import measured
from surgeon.surgery.operations import owned

if TYPE_CHECKING:
    from torch import nn

    from surgeon.pages.evidence.measuring import Cost, Measured, Progress
    from surgeon.pages.sketch import Mark
    from surgeon.sites import Plan
    from surgeon.trace.inputs import Arguments

MB = 1e6


@dataclass(frozen=True)
class Measures:
    """What was measured, and of which site: (module, after) -> what its gate takes."""

    measured: Measured
    costs: dict[tuple[str, str], Cost]

    def told(self, mark: Mark) -> str:
        """What one gate takes, in words; nothing where that is not known."""
        cost = self.costs.get((mark.site.module, mark.site.after))
        if cost is None:
            return ""
        return f"{cost.milliseconds:.2f} ms, {_percent(cost.share)} of a run; {cost.memory / MB:.2f} MB at its peak"

    @property
    def facts(self) -> tuple[tuple[str, str, str], ...]:
        """(name, value, note) of time and of memory."""
        found = self.measured
        (off, on), (without, with_all) = found.milliseconds, found.memory
        low, high = (_percent(share, "+") for share in found.middle)
        more = _percent(with_all / without - 1, "+") if without else "?"
        return (
            ("time", _percent(found.slower, "+"), f"middle half {low} to {high}; {on:.1f} ms in place of {off:.1f}"),
            ("memory of maps", more, f"{with_all / MB:.1f} MB in place of {without / MB:.1f}, at most"),
        )

    @property
    def note(self) -> str:
        """On what it was measured."""
        return (
            f"Time and memory were measured with all sites, on {self.measured.machine}, for {self.measured.example}: "
            f"medians of {self.measured.rounds} rounds, in which runs with and without attention took turns. What one "
            "gate takes was measured inside a run of the network. Other machines give other figures."
        )


def _percent(share: float, sign: str = "-") -> str:
    return f"{100 * share:{sign}.1f}\u00a0%"


def measures(
    model: nn.Module,
    plan: Plan | None = None,
    *,
    example: Arguments | None = None,
    progress: Progress = lambda runs: None,
) -> Measures:
    """Measure a network with the attention that a plan would bring, or with what is in it; `model` is left alone.

    Raises:
        BadInput: it has no weights, or nobody knows what it runs on.
    """
    before = attention_modules(model) if plan is not None else {}
    if plan is not None:
        model = apply(deepcopy(model), plan, example_inputs=example)
    gates = {path: gate for path, gate in attention_modules(model).items() if path not in before}
    found = measured(model, example, paths=[*gates], progress=progress)
    costs = {
        (owned(gate.site, path).module, gate.site.after): found.sites[path]
        for path, gate in gates.items()
        if gate.site is not None
    }
    return Measures(found, costs)
