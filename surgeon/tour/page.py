"""The page of the tour: one file, without scripts, light and dark."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from surgeon.tour.walk import Figures, Stop


def page(stops: Sequence[Stop], said: Sequence[str], figures: Figures) -> str:
    """The page as HTML.

    Args:
        said: a sentence of each stop, as it was shown.
    """
    rooms = Environment(loader=PackageLoader("surgeon.tour", "."), autoescape=True, undefined=StrictUndefined)
    bars = {
        "as it came": figures.before,
        "with CBAM, untrained": figures.put_in,
        "with CBAM as published": figures.paper,
        "with CBAM, fine-tuned": figures.tuned,
    }
    stopped = [(stop.title, sentence, stop.command) for stop, sentence in zip(stops, said)]
    return rooms.get_template("page.html").render(stops=stopped, bars=bars, figures=figures)
