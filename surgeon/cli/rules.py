"""`surgeon rules ...`: list, show, explain, check, draft and describe rules."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from surgeon import files as surgeon_files
from surgeon import networks, rulebook
from surgeon.cli import drawing, screen
from surgeon.cli import options as o
from surgeon.errors import BadOption, CheckFailed, UnknownName, suggest

if TYPE_CHECKING:
    from torch import nn

    from surgeon.rulebook.grammar import Rule
    from surgeon.rulebook.verdict import Verdict

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Rules that say where the places of a network are: list, explain, check, draft.",
)

SOURCE = Annotated[str, o.argument("torchvision:NAME, timm:NAME, package.module:Class, or a file as for inject.")]
PLACE = Annotated[str, typer.Option(help="A place, or a rule file.")]
ID = Annotated[str, o.argument("The rule's name.")]
FILES = Annotated[list[str] | None, o.argument("Rule files or folders; all known rules if none is given.")]
ALL = Annotated[
    bool,
    o.switch("--all", help="Count the sites in every network of both libraries instead (structure only; takes long)."),
]
ONLY = Annotated[str, typer.Option(metavar="GLOB", help="With --all: the networks whose name matches.")]
IMPORTS = Annotated[
    bool,
    o.switch(
        "--allow-imports", help="Build networks that are somebody's own code (package.module:Class). This runs it."
    ),
]
BLOCK = Annotated[str | None, o.option("--block", help="A class of modules that the rule is for, by its name.")]
PAGE = Annotated[
    str | None, o.option("--html", metavar="FILE", help="Write it as a page, with the code around each line.")
]
OUTPUT = Annotated[str | None, o.option("--output", "-o", help="The file to write; printed if not given.")]


@app.command("list")
def list_rules(rules: o.RULES = None, as_json: o.JSON = False) -> None:
    """All rules: their place, what they are for, what they say.

    Example: `surgeon rules list`
    """
    book = sorted(rulebook.load(rules), key=lambda rule: (rule.place, bool(rule.classes), rule.id))
    if as_json:
        return screen.dump([_described(rule) for rule in book])
    rows = [(rule.id, rule.place, _classes(rule), rule.about) for rule in book]
    screen.table(("rule", "place", "for", "about"), rows)


def _described(rule: Rule) -> dict[str, object]:
    return {"id": rule.id, "place": rule.place, "for": rule.classes, "about": rule.about, "file": rule.file}


def _classes(rule: Rule) -> str:
    return ", ".join(name.rpartition(".")[2] for name in rule.classes) or "any network"


@app.command()
def show(id: ID, rules: o.RULES = None, as_json: o.JSON = False) -> None:
    """One rule, as its file has it.

    Example: `surgeon rules show residual`
    """
    book = {rule.id: rule for rule in rulebook.load(rules)}
    if id not in book:
        raise UnknownName(f"unknown rule {id!r}. {suggest(id, book)}")
    rule = book[id]
    if as_json:
        return screen.dump(rule.model_dump(by_alias=True, exclude_none=True))
    screen.say(f"# {rule.file}\n{Path(rule.file).read_text(encoding='utf-8').rstrip()}")


@app.command()
def explain(
    source: SOURCE,
    where: PLACE = "residual",
    rules: o.RULES = None,
    arch: o.ARCH = None,
    example: o.EXAMPLE = None,
    html: PAGE = None,
    force: o.FORCE = False,
    as_json: o.JSON = False,
) -> None:
    """Site by site why a rule found it; for the others which word failed, at which line of the model's code.

    Example: `surgeon rules explain timm:res2net50_26w_4s --where residual`

    As a page: `surgeon rules explain timm:res2net50_26w_4s --where residual --html why.html`
    """
    drawing.refuse_targets(html, None, force=force)
    model, example_inputs = _network(source, arch, example)
    explanation = rulebook.explain.explain(model, where, rules=rules, example_inputs=example_inputs)
    if html:
        drawing.write_reasons(explanation, source, html, force=force)
    if as_json:
        return screen.dump(asdict(explanation))
    if not html:
        screen.say(str(explanation))
    drawing.told(html, None)


@app.command()
def check(
    files: FILES = None,
    every: ALL = False,
    only: ONLY = "*",
    allow_imports: IMPORTS = False,
    rules: o.RULES = None,
    as_json: o.JSON = False,
    quiet: o.QUIET = False,
) -> None:
    """Hold what rules expect against the networks that they name: found, missing, noisy or wrong, a line each.

    Example: `surgeon rules check my_rules/yolo_residual.yaml --allow-imports`
    """
    if only != "*" and not every:
        raise BadOption("--only narrows --all: give both.")
    book = rulebook.load(rules)
    chosen = _read(files or ()) or book
    if every:
        verdicts = rulebook.verdict.survey(chosen, book, only)
    else:
        verdicts = rulebook.verdict.check(chosen, book, allow_imports=allow_imports)
    reached = []
    for verdict in verdicts:
        reached.append(verdict)
        # Printed as soon as it is there: a survey takes long.
        if not as_json and not (quiet and verdict.kind not in rulebook.verdict.FAILED):
            screen.say(str(verdict))
    if as_json:
        screen.dump([asdict(verdict) for verdict in reached])
    _conclude(reached, quiet or as_json)


def _read(paths: Sequence[str]) -> list[Rule]:
    """The rules in some files and folders."""
    return [rulebook.read(file) for path in paths for file in rulebook.files(Path(path))]


def _conclude(verdicts: Sequence[Verdict], quiet: bool) -> None:
    """Say how many verdicts there are of each kind.

    Raises:
        CheckFailed: one is not as expected.
    """
    kinds = Counter(verdict.kind for verdict in verdicts)
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    screen.say(summary or "nothing to check: no rule expects anything", quiet=quiet)
    failed = [verdict for verdict in verdicts if verdict.kind in rulebook.verdict.FAILED]
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(verdicts)} cases are not as expected.")


@app.command()
def new(
    source: SOURCE,
    where: PLACE = "residual",
    rules: o.RULES = None,
    arch: o.ARCH = None,
    example: o.EXAMPLE = None,
    block: BLOCK = None,
    output: OUTPUT = None,
    force: o.FORCE = False,
) -> None:
    """Draft a rule from what is seen of a network: its stages, blocks, additions and last map,
    with `expect:` filled in; for the whole network, or with `--block` for a class of its blocks.

    Example: `surgeon rules new my_project.networks:Detector --where residual --output my_rules/detector.yaml`
    """
    model, example_inputs = _network(source, arch, example)
    text = rulebook.draft.draft(model, where, source=source, block=block, rules=rules, example_inputs=example_inputs)
    if output is None:
        return screen.say(text.rstrip())
    _write(text, output, force)
    screen.say(f"written: {output}")


def _write(text: str, output: str, force: bool) -> None:
    try:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        with open(output, "w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadOption(f"{output} is there already. Give --force to replace it.") from None
    except OSError as error:
        raise BadOption(f"{output} can't be written: {error.strerror}.") from None


@app.command()
def schema() -> None:
    """The grammar of rule files as JSON Schema, for editors.

    Example: `surgeon rules schema > rule.schema.json`
    """
    print(json.dumps(rulebook.grammar.schema(), indent=2))


def _network(source: str, arch: str | None, example: str | None) -> tuple[nn.Module, Any]:
    """(the network that a source means, what it runs on); of a library its structure alone, without weights."""
    example_inputs = surgeon_files.example.read_example(example)
    if surgeon_files.intake.is_name(source):
        return networks.build(source, empty=True), example_inputs
    loaded = surgeon_files.intake.open_source(source, arch=arch, example_inputs=example_inputs)
    return loaded.model, example_inputs if loaded.example is None else loaded.example
