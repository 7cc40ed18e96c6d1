"""A network and its attention, to be looked at: as a page, and as a drawing alone."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from surgeon import rulebook
from surgeon.anatomy.watch import observed
from surgeon.attention import attention_modules
from surgeon.attention.costs import costed_sites
from surgeon.attention.opened import opened
from surgeon.errors import BadModel
from surgeon.operation import example_of, remove
from surgeon.pages.draw import Entry, draw, entries
from surgeon.pages.figure import figure
from surgeon.pages.measures import Measures, measures
from surgeon.pages.page import Head, page, start
from surgeon.surgery.operations import owned
from surgeon.trace.noise import resolved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from surgeon.pages.sketch import Sketch
    from surgeon.rulebook.book import Folders
    from surgeon.sites import Plan


def html(
    model: nn.Module,
    plan: Plan | None = None,
    *,
    title: str | None = None,
    rules: Folders | None = None,
    example_inputs: Any = None,
    measure: bool = False,
) -> str:
    """The page of an operation, in one file that asks nobody for anything: every stage, every block, every site.

    Args:
        plan: what would be done to `model`; the page then gives the plan less the sites that are ticked off. None
            shows the attention that is in `model`, and how far it has opened.
        title: what the network is called; the name of its class if not given.
        rules, example_inputs: as for `surgeon.plan`.
        measure: run the network some thirty times, and say what attention takes on this machine: milliseconds and
            memory, in total and at each site.

    Raises:
        BadModel: no plan, and no attention. BadInput: the model does not run on the example input, or has no weights
            to measure it with.

    >>> text = surgeon.pages.html(model)
    """
    sketch = sketched(model, plan, rules=rules, example_inputs=example_inputs)
    if plan is None:
        names = dict.fromkeys(mark.attention for mark in sketch.marks)
        head = Head(title or sketch.name, " and ".join(names))
    else:
        head = Head(title or sketch.name, plan.attention, start(plan))
    return page(sketch, head, plan, _measures(model, plan, rules, example_inputs) if measure else None)


def svg(model: nn.Module, plan: Plan | None = None, *, rules: Folders | None = None, example_inputs: Any = None) -> str:
    """The drawing of `html` alone, for papers and slides; arguments and errors are the same.

    >>> text = surgeon.pages.svg(model)
    """
    return figure(sketched(model, plan, rules=rules, example_inputs=example_inputs))


def _measures(model: nn.Module, plan: Plan | None, rules: Folders | None, example_inputs: Any) -> Measures:
    example = example_of(model, example_inputs, rulebook.load(rules))
    return measures(model, plan, example=resolved(example, model))


def sketched(
    model: nn.Module, plan: Plan | None, *, rules: Folders | None = None, example_inputs: Any = None
) -> Sketch:
    """The sketch of a network with the attention that a plan would bring, or that is in it."""
    sites = entries([plan]) if plan is not None else _there(model)
    book = rulebook.load(rules)
    example = example_of(model, example_inputs, book)
    plain = model if plan is not None else remove(deepcopy(model))
    with observed(plain, example) as observation:
        return draw(observation, sites, book)


def _there(model: nn.Module) -> Sequence[Entry]:
    """The sites of the attention that is in a network."""
    gates, sites, moved = attention_modules(model), costed_sites(model), opened(model)
    if not sites:
        raise BadModel(
            "there is no attention here: give a plan, surgeon.pages.html(model, plan), or inject some first."
        )
    return [
        Entry(number, owned(site, path), type(getattr(gates[path], "inner", gates[path])).__name__, moved[path])
        for number, (path, site) in enumerate(sites.items())
    ]
