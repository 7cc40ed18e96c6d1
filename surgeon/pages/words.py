"""What a page and a drawing say of stages and sites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surgeon.pages.sketch import Box, Mark, Stage

# With more branches than this boxes are drawn narrower, and from where that does not help, all smaller.
MANY, NARROWEST, SMALLEST = 24, 0.4, 0.4


def scale(stage: Stage) -> float:
    """How wide the boxes of a stage are drawn."""
    return max(NARROWEST, min(1.0, MANY / _branches(stage)))


def zoom(stage: Stage) -> float:
    """How large all in a stage is drawn."""
    return max(SMALLEST, min(1.0, MANY / NARROWEST / _branches(stage)))


def _branches(stage: Stage) -> int:
    return sum(max(1, box.cells) for box in stage.boxes)


def kinds(stage: Stage) -> str:
    """The classes of what learns in a stage: `3 × Bottleneck`."""
    return counted(box.kind for box in stage.boxes if box.parameters or len(stage.boxes) == 1)


def counted(names: Iterable[str]) -> str:
    """Each name once, with how often it comes.

    >>> counted(["Stem", "Block", "Block"])
    'Stem, 2\\xa0×\\xa0Block'
    """
    counts = Counter(filter(None, names))
    return ", ".join(f"{count:,}\xa0×\xa0{name}" if count > 1 else name for name, count in counts.items())


def where(mark: Mark, box: Box) -> str:
    """After what a site is, as short as it is clear beside its box."""
    site = mark.site
    if site.replaces:
        return f"instead of {site.module}"
    if site.module == box.name:
        return f"after {site.after}"
    inside = site.module.removeprefix(f"{box.name}.") or "the model"
    if site.after.startswith("input"):
        return f"before {inside}"
    return f"after {inside}" if site.after == "output" else f"in {inside}, after {site.after}"


def about(mark: Mark) -> str:
    """Its place, and the shape of its map."""
    site = mark.site
    layout = "" if site.layout == "NCHW" else f" {site.layout}"
    place = "" if site.replaces else f"{site.place}, "
    return f"{place}{site.shape.replace(' x ', ' × ')}{layout}"


def places(marks: Iterable[Mark]) -> str:
    """What kinds of places there are among some sites."""
    return counted("in a module’s place" if mark.site.replaces else mark.site.place for mark in marks)
