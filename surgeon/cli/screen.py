"""What the command shows: tables, one-line facts, a bar while work is long."""

import json
import sys
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


def console():
    """Standard output, made anew at each use so that tests and pipes see it."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def say(text, *, quiet=False):
    """One line of text, brackets and all as they are."""
    if not quiet:
        console().print(text, markup=False)


def dump(data):
    """JSON on standard output."""
    print(json.dumps(data, indent=2, default=str))


def sites(plan, parameters):
    """The table of a plan: every site, and what attention costs there."""
    table = Table(title=f"{plan.attention} at {len(plan)} site{'s' * (len(plan) != 1)}", title_justify="left", title_style="bold")
    for name in ("module", "after", "place", "shape", "layout"):
        table.add_column(name, overflow="fold")
    for name in ("+params", "+MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    for site in plan:
        table.add_row(site.module or "(the model)", site.after, site.place, site.shape, site.layout, *site.cost)
    table.add_section()
    added, macs = sum(site.parameters or 0 for site in plan), sum(site.macs or 0 for site in plan)
    share = f" (+{added / parameters:.2%})" if parameters else ""
    table.add_row("together", "", "", "", "", f"{added:,}{share}", f"{macs:,}")
    # A pipe has no width; a table cut at 80 columns is of no use there.
    Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 140).print(table)
    for note in plan.notes:
        say(f"note: {note}")


def table(names, rows):
    """Rows of text under their names."""
    made = Table(box=None, pad_edge=False)
    for name in names:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*row)
    Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160, markup=False).print(made)


def facts(rows, *, title=None):
    """Two columns: name and value."""
    if title:
        say(title)
    table = Table(show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, str(value))
    Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 140, markup=False).print(table)


@contextmanager
def bar(text, *, quiet=False):
    """A bar on standard error for work on many bytes. Gives `progress(bytes)`; the first `progress.of(total)` says how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet or not sys.stderr.isatty()) as progress:
        task = progress.add_task(text, total=None)
        yield _Advance(progress, task)


class _Advance:
    """Called with bytes that are done; `step` names what is done next."""

    def __init__(self, progress, task):
        self._progress, self._task = progress, task

    def __call__(self, count):
        self._progress.advance(self._task, count)

    def step(self, text, total=None):
        self._progress.reset(self._task, description=text, total=total)
