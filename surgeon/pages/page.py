"""The page of an operation: the network as a drawing, every site in it, and what the attention costs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from surgeon.attention import EXACT
from surgeon.pages.glyph import Glyph, glyph
from surgeon.pages.render import render
from surgeon.pages.sketch import Box, Mark
from surgeon.pages.words import about, kinds, places, scale, where, zoom
from surgeon.sites import Site
from surgeon.version import VERSION

if TYPE_CHECKING:
    from surgeon.pages.measures import Measures
    from surgeon.pages.sketch import Sketch
    from surgeon.sites import Plan

EXACTLY = "Until it is trained, the network’s output stays as it was, bit for bit."
PUBLISHED = "It starts as published: the output moves, and the network has to be trained before it is used."
ALONE = "The network itself was not built for this page: only the modules with attention are drawn."


@dataclass(frozen=True)
class Head:
    """What a page says of its network.

    title: its name. attention: what is put in. lead: a sentence on that.
    kicker: a line above the title. source, command: the network as the command names it, and the command that does the
    plan; empty where nobody knows. facts: (name, value, note) beside what the attention costs.
    """

    title: str
    attention: str
    lead: str = ""
    kicker: str = "surgeon"
    source: str = ""
    command: str = ""
    facts: tuple[tuple[str, str, str], ...] = ()


def page(sketch: Sketch, head: Head, plan: Plan | None = None, measures: Measures | None = None) -> str:
    """The page as HTML, in one file that asks nobody for anything.

    Args:
        plan: what would be done, to tick sites of off; None where it is done.
        measures: what was measured; None where nobody asked.
    """
    count = len(sketch.marks)
    drawn = ((("input", sketch.image, "one image, as it was watched"),) if sketch.image else ()) + head.facts
    measured = (measures.facts, [measures.note]) if measures is not None else ((), [])
    return render(
        __package__,
        "page.html",
        sketch=sketch,
        head=head,
        lead=f"Attention at {count:,} site{'s' * (count != 1)}. {head.lead}",
        places=places(sketch.marks),
        added=_sum(sketch, "parameters"),
        macs=_sum(sketch, "macs"),
        facts=drawn + measured[0],
        notes=[*_notes(sketch), *measured[1]],
        taken=measures.told if measures is not None else lambda mark: "",
        legend=_legend(sketch),
        plan=json.dumps({"source": head.source} | plan.to_dict(), indent=2) if plan is not None else "",
        version=VERSION,
        glyph=lambda box, stage: glyph(box, scale=scale(stage)),
        zoom=zoom,
        kinds=kinds,
        where=where,
        about=about,
    )


def start(plan: Plan) -> str:
    """What the attention of a plan does at first, in a sentence."""
    return EXACTLY if plan.init in EXACT else PUBLISHED


def _sum(sketch: Sketch, name: str) -> int | None:
    numbers = [getattr(mark.site, name) for mark in sketch.marks]
    return None if None in numbers else sum(numbers)


def _notes(sketch: Sketch) -> list[str]:
    if not sketch.is_whole:
        return [ALONE]
    return (
        [f"Only {sketch.part} is drawn: what comes behind it needs numbers, not shapes alone."] if sketch.part else []
    )


def _legend(sketch: Sketch) -> list[tuple[Glyph, str]]:
    """What the drawing is made of, as far as it is in it."""
    marks, boxes = sketch.marks, [*sketch.boxes]
    shown = (
        ("layers: as high as their map is large, as wide as it has channels", _example(), True),
        ("a block: the bow is its shortcut", _example(cells=1), any(box.cells for box in boxes)),
        ("a shortcut with layers of its own", _example(cells=1, own=True), any(box.projected for box in boxes)),
        ("attention in the branch", _example(cells=1, at=0), any(mark.is_passed for mark in marks)),
        ("attention that no shortcut leads past", _example(at=None), any(not mark.is_passed for mark in marks)),
        ("attention that can’t learn", _example(at=None, read=False), any(not mark.site.read for mark in marks)),
    )
    return [(glyph(box), told) for told, box, is_there in shown if is_there]


def _example(*, cells: int = 0, own: bool = False, at: int | None = -1, read: bool = True) -> Box:
    """A box for the legend. at: the branch of its one site, None on the common way, -1 for no site."""
    size = (14, 14)
    marks = () if at == -1 else (Mark(-1, Site("", "", "", 64, size, read=read), "", cell=at),)
    return Box("", "", 64, size, cells=cells, projected=frozenset({0} if own else ()), marks=marks)
