"""What the command shows: tables, one-line facts, a bar while work is long."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from surgeon.sites import Plan


def console() -> Console:
    """Standard output, made anew at each use so that tests and pipes see it."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def say(text: str, *, quiet: bool = False) -> None:
    """One line of text, brackets and all as they are."""
    if not quiet:
        console().print(text, markup=False)


def dump(data: object) -> None:
    """JSON on standard output."""
    print(json.dumps(data, indent=2, default=str))


def sites(plan: Plan, parameters: int) -> None:
    """The table of a plan: every site, and what attention costs there.

    Args:
        parameters: of the network without the attention.
    """
    title = f"{plan.attention} at {len(plan)} site{'s' * (len(plan) != 1)}"
    rows = Table(title=title, title_justify="left", title_style="bold")
    for name in ("module", "after", "place", "shape", "layout"):
        rows.add_column(name, overflow="fold")
    for name in ("+params", "+MACs"):
        rows.add_column(name, justify="right", no_wrap=True)
    for site in plan:
        rows.add_row(site.module or "(the model)", site.after, site.place, site.shape, site.layout, *site.cost)
    rows.add_section()
    added, macs = sum(site.parameters or 0 for site in plan), sum(site.macs or 0 for site in plan)
    share = f" (+{added / parameters:.2%})" if parameters else ""
    rows.add_row("together", "", "", "", "", f"{added:,}{share}", f"{macs:,}")
    _print(rows, piped_width=140)
    for note in plan.notes:
        say(f"note: {note}")


def table(names: Iterable[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows of text under their names."""
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    _print(table, piped_width=160, markup=False)


def facts(rows: Mapping[str, object], *, title: str | None = None) -> None:
    """Two columns: name and value."""
    if title:
        say(title)
    table = Table(show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, str(value))
    _print(table, piped_width=140, markup=False)


def _print(table: Table, *, piped_width: int, markup: bool = True) -> None:
    # A pipe has no width; a table cut at 80 columns is of no use there.
    width = None if sys.stdout.isatty() else piped_width
    Console(file=sys.stdout, highlight=False, width=width, markup=markup).print(table)


class Bar:
    """A bar on the screen: called with bytes that are done; `step` names what is done next."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def __call__(self, count: int) -> None:
        self._progress.advance(self._task, count)

    def step(self, text: str, total: int | None = None) -> None:
        """Begin what `text` names: `total` bytes of work, None where nobody knows."""
        self._progress.reset(self._task, description=text, total=total)


@contextmanager
def bar(text: str, *, quiet: bool = False) -> Iterator[Bar]:
    """A Bar on standard error for work on many bytes, which begins with what `text` names; gone in the end."""
    with _progress(BarColumn(), DownloadColumn(), TimeRemainingColumn(), quiet=quiet) as progress:
        yield Bar(progress, progress.add_task(text, total=None))


@contextmanager
def counted(text: str, total: int, *, quiet: bool = False) -> Iterator[Bar]:
    """A Bar for `total` steps of one kind."""
    with _progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), quiet=quiet) as progress:
        yield Bar(progress, progress.add_task(text, total=total))


@contextmanager
def _progress(*columns: ProgressColumn, quiet: bool) -> Iterator[Progress]:
    is_hidden = quiet or not sys.stderr.isatty()
    # Some releases of rich end even a bar that is disabled with an empty line.
    console = Console(stderr=True, quiet=is_hidden)
    told = TextColumn("{task.description}")
    with Progress(told, *columns, console=console, transient=True, disable=is_hidden) as progress:
        yield progress
