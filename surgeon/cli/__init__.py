"""The command: parses, calls, prints. Whatever it does, a Python call does as well."""

import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn, cast

import typer

from surgeon.cli import files, rules, script
from surgeon.cli.evidence import compare, rank
from surgeon.cli.fold import fold
from surgeon.cli.inject import inject
from surgeon.cli.maps import maps
from surgeon.cli.places import places
from surgeon.cli.plan import plan
from surgeon.cli.show import show
from surgeon.cli.tour import command as touring
from surgeon.errors import SurgeonError, UnusedSite
from surgeon.version import VERSION

app = typer.Typer(
    name="surgeon",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Puts attention into torchvision and timm networks, and keeps their weights to the bit.",
)

# The help shows them in this order, each panel under its name.
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "The first minute": (touring.tour,),
    "Operations": (places, plan, inject),
    "Files": (show, files.strip, files.delta, files.merge, files.export, fold, files.check, files.verify),
    "Evidence": (compare, rank),
    "Pictures": (maps,),
    "Scripts": (script.run,),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)

app.add_typer(rules.app, name="rules", rich_help_panel="Rules")

# The class of all refusals of click's: typer brings its own copy of click in some releases and imports it in others.
REFUSED = cast(
    type[typer.BadParameter],  # a subclass, but the only one whose type typer exports in both
    next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"),
)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and end."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks; may stand anywhere."),
) -> None:
    if version:
        typer.echo(f"surgeon {VERSION}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process.

    It ends with 0: done, 1: no site, 2: wrong use, 3: a failed check, 70: a fault of surgeon's own, 130: interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if script.is_asked(arguments):
        sys.exit(_execute(*arguments[1:]))
    sys.exit(run(arguments))


def _execute(path: str, *arguments: str) -> int:
    """Run somebody's script: its errors are no errors of the command's, and are shown as Python shows them."""
    try:
        script.execute(path, arguments)
    except SurgeonError as error:
        return _report(str(error), error.exit_code, False)
    return 0


def run(arguments: Sequence[str]) -> int:
    """Run the command with `arguments` and return its exit code; errors are printed in one line."""
    debug = "--debug" in arguments
    try:
        return _call([argument for argument in arguments if argument != "--debug"])
    except REFUSED as error:
        return _report(error.format_message(), 2, debug)
    except SurgeonError as error:
        return _report(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _report("interrupted; nothing was written.", 130, False)
    except MemoryError:
        return _report("there is not enough memory.", 2, debug)
    # What no part of surgeon foresaw: still one line, and how to see more.
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {error} Please report it with what --debug shows."
        return _report(text, 70, debug)


def _call(arguments: list[str]) -> int:
    with warnings.catch_warnings():
        # Printed as a note of the plan.
        warnings.simplefilter("ignore", UnusedSite)
        code = app(args=arguments, prog_name="surgeon", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _report(text: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    # Without a command there is nothing to complain of: the help was printed.
    if text.strip():
        print(f"surgeon: {' '.join(text.split())}", file=sys.stderr)
    return code
