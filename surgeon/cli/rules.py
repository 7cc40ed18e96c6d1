"""`surgeon rules ...`: list, show, explain, check, draft and describe rules."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from surgeon import files, networks, rulebook
from surgeon.cli import options as o
from surgeon.cli import screen
from surgeon.errors import BadOption, CheckFailed, UnknownName, suggest

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Rules that say where the places of a network are: list, explain, check, draft.")

SOURCE = Annotated[str, typer.Argument(help="torchvision:NAME, timm:NAME, package.module:Class, or a file as for inject.", show_default=False)]
PLACE = Annotated[str, typer.Option(help="A place, or a rule file.")]


@app.command("list")
def list_rules(rules: o.RULES = None, as_json: o.JSON = False):
    """All rules: their place, what they are for, what they say.

    Example: `surgeon rules list`
    """
    book = sorted(rulebook.load(rules), key=lambda rule: (rule.place, bool(rule.classes), rule.id))
    if as_json:
        return screen.dump([{"id": rule.id, "place": rule.place, "for": rule.classes, "about": rule.about, "file": rule.file} for rule in book])
    screen.table(("rule", "place", "for", "about"), [(rule.id, rule.place, _classes(rule), rule.about) for rule in book])


def _classes(rule):
    return ", ".join(name.rpartition(".")[2] for name in rule.classes) or "any network"


@app.command()
def show(id: Annotated[str, typer.Argument(help="The rule's name.", show_default=False)], rules: o.RULES = None, as_json: o.JSON = False):
    """One rule, as its file has it.

    Example: `surgeon rules show residual`
    """
    book = {rule.id: rule for rule in rulebook.load(rules)}
    if id not in book:
        raise UnknownName(f"unknown rule {id!r}. {suggest(id, book)}")
    if as_json:
        return screen.dump(book[id].model_dump(by_alias=True, exclude_none=True))
    screen.say(f"# {book[id].file}\n{Path(book[id].file).read_text(encoding='utf-8').rstrip()}")


@app.command()
def explain(source: SOURCE, where: PLACE = "residual", rules: o.RULES = None, arch: o.ARCH = None, as_json: o.JSON = False):
    """Site by site why a rule found it; for the others which word failed, at which line of the model's code.

    Example: `surgeon rules explain timm:res2net50_26w_4s --where residual`
    """
    told = rulebook.explain.explain(_network(source, arch), where, rules=rules)
    screen.dump(asdict(told)) if as_json else screen.say(str(told))


@app.command()
def check(
    files: Annotated[Optional[list[str]], typer.Argument(help="Rule files or folders; all known rules if none is given.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Count the sites in every network of both libraries instead (structure only; takes long).")] = False,
    only: Annotated[str, typer.Option(metavar="GLOB", help="With --all: the networks whose name matches.")] = "*",
    allow_imports: Annotated[bool, typer.Option("--allow-imports", help="Build networks that are somebody's own code (package.module:Class). This runs it.")] = False,
    rules: o.RULES = None, as_json: o.JSON = False, quiet: o.QUIET = False,
):
    """Hold what rules expect against the networks that they name: found, missing, noisy or wrong, a line each.

    Example: `surgeon rules check my_rules/yolo_residual.yaml --allow-imports`
    """
    if only != "*" and not every:
        raise BadOption("--only narrows --all: give both.")
    book = rulebook.load(rules)
    chosen = [rulebook.read(file) for name in files or () for file in rulebook.files(Path(name))] or book
    cases = rulebook.verdict.survey(chosen, book, only) if every else rulebook.verdict.check(chosen, book, allow_imports=allow_imports)
    told = []
    for case in cases:
        told.append(case)
        if not as_json and not (quiet and case.kind not in rulebook.verdict.FAILED):
            screen.say(str(case))
    if as_json:
        screen.dump([asdict(case) for case in told])
    _conclude(told, quiet or as_json)


def _conclude(told, quiet):
    kinds = Counter(case.kind for case in told)
    screen.say(", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing to check: no rule expects anything", quiet=quiet)
    failed = sum(kinds[kind] for kind in rulebook.verdict.FAILED)
    if failed:
        raise CheckFailed(f"{failed} of {len(told)} cases are not as expected.")


@app.command()
def new(
    source: SOURCE, where: PLACE = "residual", rules: o.RULES = None, arch: o.ARCH = None,
    output: Annotated[Optional[str], typer.Option("--output", "-o", help="The file to write; printed if not given.", show_default=False)] = None,
    force: o.FORCE = False,
):
    """Draft a rule from what is seen of a network: its stages, blocks, additions and last map, with `expect:` filled in.

    Example: `surgeon rules new my_project.networks:Detector --where residual --output my_rules/detector.yaml`
    """
    text = rulebook.draft.draft(_network(source, arch), where, source=source, rules=rules)
    if output is None:
        return screen.say(text.rstrip())
    try:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        with open(output, "w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadOption(f"{output} is there already. Give --force to replace it.") from None
    except OSError as error:
        raise BadOption(f"{output} can't be written: {error.strerror}.") from None
    screen.say(f"written: {output}")


@app.command()
def schema():
    """The grammar of rule files as JSON Schema, for editors.

    Example: `surgeon rules schema > rule.schema.json`
    """
    print(json.dumps(rulebook.grammar.schema(), indent=2))


def _network(source, arch=None):
    """The network that a source means; a library's own without weights, since only its structure is looked at."""
    if files.intake.is_name(source):
        return networks.build(source, empty=True)
    return files.intake.open_source(source, arch=arch).model
