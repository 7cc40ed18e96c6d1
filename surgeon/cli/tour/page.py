"""The page of the tour: one file, without scripts, light and dark."""

from collections.abc import Sequence

from surgeon.cli.tour.walk import IMAGES, Figures, Stop
from surgeon.pages.render import render


def page(stops: Sequence[Stop], said: Sequence[str], figures: Figures) -> str:
    """The page as HTML.

    Args:
        said: a sentence of each stop, as it was shown.
    """
    accuracies = {
        "as it came": figures.before,
        "with CBAM, untrained": figures.put_in,
        "with CBAM as published": figures.paper,
        "with CBAM, fine-tuned": figures.tuned,
    }
    # Accuracies near 1 are bars of one length; what goes wrong can be seen.
    bars = [(name, accuracy, round(IMAGES * (1 - accuracy))) for name, accuracy in accuracies.items()]
    most = max(1, *(wrong for _, _, wrong in bars))
    stopped = [(stop.title, sentence, stop.command.split()) for stop, sentence in zip(stops, said)]
    return render("surgeon.cli.tour", "page.html", stops=stopped, bars=bars, most=most, images=IMAGES, figures=figures)
