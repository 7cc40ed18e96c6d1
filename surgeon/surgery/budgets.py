"""Sites that are chosen by what attention costs there, before anybody has trained it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from surgeon.anatomy.counting import macs
from surgeon.errors import BadOption, suggest

if TYPE_CHECKING:
    from surgeon.anatomy.observation import Observation
    from surgeon.sites import Plan, Site

KINDS = ("macs", "parameters")


def check(budget: Mapping[str, float] | None) -> None:
    """Refuse, before any work, a budget that says nothing."""
    if budget is None:
        return
    if not isinstance(budget, Mapping) or not budget:
        raise BadOption(f"budget can't be {budget!r}: give shares of the network's own, such as {{'macs': 0.02}}.")
    for name, share in budget.items():
        if name not in KINDS:
            raise BadOption(f"budget has no {name!r}. {suggest(name, KINDS)}")
        if isinstance(share, bool) or not isinstance(share, int | float) or not share > 0:
            raise BadOption(f"budget: {name} must be a share above 0, such as 0.02 for two percent, not {share!r}.")


def within(plan: Plan, budget: Mapping[str, float], observation: Observation) -> Plan:
    """The plan with its cheapest sites alone, as many as the budget pays for, in their old order.

    Raises:
        BadOption: it pays for none.
    """
    own = {
        "macs": macs(observation)[observation.scene.graph],
        "parameters": sum(weight.numel() for weight in observation.model.parameters()),
    }
    limits = {name: share * own[name] for name, share in budget.items()}
    spent = dict.fromkeys(limits, 0)
    taken = set()
    for site in sorted(plan, key=lambda site: _share(site, limits)):
        after = {name: spent[name] + _cost(site, name) for name in limits}
        if all(after[name] <= limits[name] for name in limits):
            spent = after
            taken.add(site)
    if not taken:
        raise BadOption(_too_small(plan, own, budget))
    return replace(plan, sites=tuple(site for site in plan if site in taken))


def _cost(site: Site, name: str) -> int:
    return int(getattr(site, name) or 0)


def _share(site: Site, limits: Mapping[str, float]) -> float:
    """How much of the budget a site takes, of that which it takes most of."""
    return max(_cost(site, name) / limits[name] if limits[name] else float("inf") for name in limits)


def _too_small(plan: Plan, own: Mapping[str, int], budget: Mapping[str, float]) -> str:
    needed = {name: min(_cost(site, name) for site in plan) / max(1, own[name]) for name in budget}
    name = max(needed, key=lambda name: needed[name] / budget[name])
    return (
        f"this budget pays for none of the {len(plan)} sites: the cheapest takes {needed[name]:.2g} of the network's"
        f" {name}, and it is {budget[name]:g}."
    )
