"""`surgeon tour`: the first minute."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from surgeon.cli import options as o
from surgeon.cli import screen
from surgeon.errors import Interrupted
from surgeon.files.atomic import replacing

FOLDER = Annotated[str, o.option("--output", "-o", help="The folder to leave.", metavar="FOLDER")]
SEED = Annotated[int, o.option("--seed", help="Of the attention's weights and of the order of the images.")]


def tour(folder: FOLDER = "surgeon-tour", seed: SEED = 0, as_json: o.JSON = False, quiet: o.QUIET = False) -> None:
    """Everything once, on the trained network that surgeon brings: takes about a minute, and downloads nothing.

    Leaves a folder with a file, a page, and the same in Python.

    Example: `surgeon tour`
    """
    from surgeon.cli.tour import leaving

    leaving.refuse_others(folder)
    try:
        with replacing(folder, force=True) as fresh:
            figures = _walk(fresh, seed, quiet or as_json)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; nothing was written. surgeon tour begins anew, and takes a minute.") from None
    if as_json:
        return screen.dump(figures)
    screen.say(f"left in {folder}: {', '.join(leaving.NAMES)}", quiet=quiet)


def _walk(fresh: Path, seed: int, quiet: bool) -> dict[str, object]:
    """Stop after stop on the screen, and what they leave in the folder `fresh`; the figures."""
    from surgeon import samples
    from surgeon.cli.tour import leaving
    from surgeon.cli.tour.walk import STOPS, Walk, one_thread

    fresh.mkdir()
    walk, said = Walk(samples.load(), fresh, seed), []
    with one_thread(), _bar(len(STOPS), quiet) as bar:
        task = bar.task_ids[0]
        for number, stop in enumerate(STOPS, 1):
            bar.update(task, description=stop.title)
            said.append(stop.do(walk))
            bar.advance(task)
            for line in (f"{number}. {stop.title}", f"   {said[-1]}", f"   $ {stop.command}"):
                screen.say(line, quiet=quiet)
    leaving.write(fresh, STOPS, said, walk.figures)
    return asdict(walk.figures)


def _bar(stops: int, quiet: bool) -> Progress:
    """A bar on standard error, gone in the end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    is_hidden = quiet or not sys.stderr.isatty()
    bar = Progress(*columns, console=Console(stderr=True, quiet=is_hidden), transient=True, disable=is_hidden)
    bar.add_task("", total=stops)
    return bar
