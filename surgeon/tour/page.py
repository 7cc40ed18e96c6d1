"""The page of the tour: one file, without scripts, light and dark."""

from collections.abc import Sequence

from surgeon.pages.render import render
from surgeon.tour.walk import Figures, Stop


def page(stops: Sequence[Stop], said: Sequence[str], figures: Figures) -> str:
    """The page as HTML.

    Args:
        said: a sentence of each stop, as it was shown.
    """
    bars = {
        "as it came": figures.before,
        "with CBAM, untrained": figures.put_in,
        "with CBAM as published": figures.paper,
        "with CBAM, fine-tuned": figures.tuned,
    }
    stopped = [(stop.title, sentence, stop.command) for stop, sentence in zip(stops, said)]
    return render("surgeon.tour", "page.html", stops=stopped, bars=bars, figures=figures)
