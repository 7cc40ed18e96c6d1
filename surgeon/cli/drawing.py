"""What `--html` and `--svg` write: pages and drawings of a plan, or of what is in a file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgeon.cli import screen
from surgeon.errors import BadOption
from surgeon.files.atomic import refuse_target, replacing
from surgeon.sites import opened_in_words

if TYPE_CHECKING:
    from surgeon.files.label import Label
    from surgeon.files.loaded import LoadedModel
    from surgeon.pages.measures import Measures
    from surgeon.pages.page import Head
    from surgeon.pages.sketch import Sketch
    from surgeon.rulebook.book import Folders
    from surgeon.rulebook.explanation import Explanation
    from surgeon.sites import Plan


def refuse_targets(html: str | None, svg: str | None, *, force: bool, measure: bool = False) -> None:
    """Refuse, before any work, what can't be written.

    Raises:
        BadOption: both are one file, or figures are asked for without a page. BadFile: it is there already, or its
            folder is not.
    """
    if html and html == svg:
        raise BadOption(f"--html and --svg are both {html}. Give two names.")
    if measure and not html:
        raise BadOption("--measure says on a page what attention takes: give --html FILE as well.")
    for target in filter(None, (html, svg)):
        refuse_target(Path(target).resolve(), force)


def told(html: str | None, svg: str | None) -> None:
    """Say what was written."""
    for target in filter(None, (html, svg)):
        screen.say(f"written: {target}")


def write_plan(
    loaded: LoadedModel,
    plan: Plan,
    source: str,
    options: Mapping[str, Any],
    *,
    html: str | None,
    svg: str | None,
    rules: Folders | None,
    force: bool,
    measures: Measures | None = None,
) -> None:
    """The page and the drawing of what would be done.

    Args:
        source, options: the network as it was typed, for the command that does the plan.
        measures: what was measured.
    """
    from surgeon.pages.page import Head, start
    from surgeon.pages.views import sketched

    sketch = sketched(loaded.model, plan, rules=rules, example_inputs=loaded.example)
    head = Head(
        title=_title(source),
        attention=plan.attention,
        lead=start(plan),
        kicker=f"surgeon plan {source}",
        source=source,
        command=_command(source, plan, options),
    )
    _write(sketch, head, plan, html=html, svg=svg, force=force, measures=measures)


def write_file(
    label: Label,
    file: str,
    *,
    allow_imports: bool,
    html: str | None,
    svg: str | None,
    force: bool,
    measures: Measures | None = None,
) -> None:
    """The page and the drawing of what is in a file."""
    from surgeon.pages.filed import sketched
    from surgeon.pages.page import Head

    recipe = label.recipe
    head = Head(
        title=_title(str(recipe.base)),
        attention=" and ".join(dict.fromkeys(plan.attention for plan in recipe.operations)),
        lead=_sentence(opened_in_words(recipe.opened)) if recipe.opened else "",
        kicker=f"surgeon show {file}",
    )
    _write(
        sketched(recipe, allow_imports=allow_imports), head, None, html=html, svg=svg, force=force, measures=measures
    )


def write_reasons(explanation: Explanation, source: str, html: str, *, force: bool) -> None:
    """The page of what a rule looked at in the network `source`."""
    from surgeon.pages.reasons import reasons

    with replacing(html, force=force) as fresh:
        fresh.write_text(reasons(explanation, source), encoding="utf-8")


def measured(loaded: LoadedModel, plan: Plan | None, *, quiet: bool) -> Measures:
    """What attention takes on this machine, with a bar for the runs that it needs."""
    from surgeon.pages.evidence.measuring import steps
    from surgeon.pages.measures import measures

    with screen.counted("measuring", steps(), quiet=quiet) as progress:
        return measures(loaded.model, plan, example=loaded.example, progress=progress)


def _write(
    sketch: Sketch,
    head: Head,
    plan: Plan | None,
    *,
    html: str | None,
    svg: str | None,
    force: bool,
    measures: Measures | None,
) -> None:
    from surgeon.pages.figure import figure
    from surgeon.pages.page import page

    for target, text in ((html, lambda: page(sketch, head, plan, measures)), (svg, lambda: figure(sketch))):
        if target:
            with replacing(target, force=force) as fresh:
                fresh.write_text(text(), encoding="utf-8")


def _title(source: str) -> str:
    """`torchvision:resnet50` as `resnet50`, a path as the name of its file."""
    return Path(source).name.rpartition(":")[2]


def _command(source: str, plan: Plan, options: Mapping[str, Any]) -> str:
    """What does a plan that was saved as plan.json."""
    words = ["surgeon", "inject", source]
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            words += [name] if one is True else [name, str(one)] if one else []
    attention = plan.attention.rpartition(":")[2].lower()
    return shlex.join(
        [*words, "--plan", "plan.json", "--output", f"{Path(_title(source)).stem}_{attention}.safetensors"]
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
