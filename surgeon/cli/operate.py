"""`surgeon places`, `plan` and `inject`: what is there, what would be done, do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import surgeon
from surgeon import files, networks
from surgeon.cli import drawing, screen
from surgeon.cli import options as o
from surgeon.errors import BadOption, suggest
from surgeon.files.planned import read_plan
from surgeon.sites import DEFAULT_INIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from surgeon.files.convert import Conversion, Progress
    from surgeon.files.loaded import LoadedModel
    from surgeon.sites import Plan

LIST = o.option("--list", metavar="LIBRARY", help="List what there is by name: torchvision, timm or sample.")


def places(
    source: Annotated[str | None, o.argument("A network or a file.")] = None,
    arch: o.ARCH = None,
    weights: o.WEIGHTS = None,
    num_classes: o.CLASSES = None,
    arg: o.ARGUMENTS = None,
    rules: o.RULES = None,
    example: o.EXAMPLE = None,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    names: Annotated[str | None, LIST] = None,
    as_json: o.JSON = False,
    quiet: o.QUIET = False,
) -> None:
    """How many sites of each place a network has.

    Example: `surgeon places torchvision:mobilenet_v2`

    A network of two images: `surgeon places my_project.networks:Siamese --example '2x3x64x64 2x3x64x64'`
    """
    if names is not None:
        return _list(names, as_json)
    if source is None:
        raise BadOption("which network? surgeon places torchvision:resnet50")
    loaded = _open(
        source,
        arch=arch,
        weights=weights,
        num_classes=num_classes,
        arg=arg,
        allow_pickle=allow_pickle,
        allow_imports=allow_imports,
        example=example,
    )
    counts = surgeon.places(loaded.model, rules=rules, example_inputs=loaded.example)
    if as_json:
        return screen.dump({"source": loaded.description, "places": counts})
    if not quiet:
        screen.facts(counts, title=loaded.description)


def _list(library: str, as_json: bool) -> None:
    if library not in networks.LIBRARIES:
        raise BadOption(f"--list {library}: {suggest(library, networks.LIBRARIES)}")
    names = networks.names(library)
    if as_json:
        return screen.dump(names)
    print("\n".join(f"{library}:{name}" for name in names))


def plan(
    source: o.SOURCE,
    attention: o.ATTENTION,
    where: o.WHERE = None,
    replace: o.REPLACE = False,
    setting: o.SET = None,
    init: o.INIT = DEFAULT_INIT,
    budget: o.BUDGET = None,
    rules: o.RULES = None,
    example: o.EXAMPLE = None,
    arch: o.ARCH = None,
    weights: o.WEIGHTS = None,
    num_classes: o.CLASSES = None,
    arg: o.ARGUMENTS = None,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    html: o.HTML = None,
    svg: o.SVG = None,
    measure: o.MEASURE = False,
    force: o.FORCE = False,
    as_json: o.JSON = False,
    quiet: o.QUIET = False,
) -> None:
    """Every site that attention would go to, and what it costs there. Changes nothing.

    Example: `surgeon plan timm:convnext_tiny --attention cbam --where residual --set reduction=8`

    To look at it, and to choose among the sites: `surgeon plan torchvision:resnet50 --attention cbam --html plan.html`

    With what it takes on this machine: `surgeon plan torchvision:resnet50 --attention cbam --html plan.html --measure`
    """
    drawing.refuse_targets(html, svg, force=force, measure=measure)
    loaded = _open(
        source,
        arch=arch,
        weights=weights,
        num_classes=num_classes,
        arg=arg,
        allow_pickle=allow_pickle,
        allow_imports=allow_imports,
        example=example,
    )
    plan = surgeon.plan(
        loaded.model,
        attention,
        where=_where(where),
        replace=replace,
        init=init,
        budget=o.pairs(budget, "--budget") or None,
        rules=rules,
        example_inputs=loaded.example,
        **o.pairs(setting, "--set"),
    )
    again = {"--example": example, "--arch": arch, "--weights": weights, "--num-classes": num_classes, "--arg": arg}
    switches = {"--allow-pickle": allow_pickle, "--allow-imports": allow_imports}
    if html or svg:
        measures = drawing.measured(loaded, plan, quiet=quiet or as_json) if measure else None
        drawing.write_plan(
            loaded, plan, source, again | switches, html=html, svg=svg, rules=rules, force=force, measures=measures
        )
    if as_json:
        return screen.dump({"source": loaded.description} | plan.to_dict())
    if not quiet:
        screen.sites(plan, sum(weight.numel() for weight in loaded.model.parameters()))
        drawing.told(html, svg)


def inject(
    source: o.SOURCE,
    output: o.OUTPUT,
    attention: o.ATTENTION_OR_PLAN = None,
    plan_file: o.PLAN = None,
    where: o.WHERE = None,
    replace: o.REPLACE = False,
    setting: o.SET = None,
    init: o.INIT_OR_PLAN = None,
    budget: o.BUDGET = None,
    rules: o.RULES = None,
    example: o.EXAMPLE = None,
    arch: o.ARCH = None,
    weights: o.WEIGHTS = None,
    pretrained: o.PRETRAINED = False,
    published: o.PUBLISHED = None,
    num_classes: o.CLASSES = None,
    arg: o.ARGUMENTS = None,
    format: o.FORMAT = None,
    force: o.FORCE = False,
    ema: o.EMA = False,
    drop_optimizer: o.DROP = False,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    as_json: o.JSON = False,
    quiet: o.QUIET = False,
) -> None:
    """Put attention into a network and write it, with a recipe that builds it again.

    Example: `surgeon inject torchvision:resnet50 --weights resnet50.pth --attention cbam --where bottleneck
    --output resnet50_cbam.safetensors`

    A plan from a file, such as the page of a plan saves: `surgeon inject torchvision:resnet50 --plan plan.json
    --output resnet50_cbam.safetensors`

    With weights in which the attention is trained already: `surgeon inject torchvision:resnet50 --attention cbam
    --published cbam_resnet50.pth --output resnet50_cbam.safetensors`
    """
    beside = {"--where": where, "--set": setting, "--init": init, "--replace": replace, "--budget": budget}
    planned = _planned(attention, plan_file, beside)
    if published is not None:
        _only_published(source, weights, pretrained)
    with screen.bar("reading", quiet=quiet or as_json) as progress:
        loaded = _open(
            source,
            arch=arch,
            weights=weights,
            pretrained=pretrained,
            num_classes=num_classes,
            arg=arg,
            allow_pickle=allow_pickle,
            allow_imports=allow_imports,
            example=example,
            ema=ema,
            progress=progress,
        )
        progress.step("planning")
        plan = planned or surgeon.plan(
            loaded.model,
            str(attention),
            where=_where(where),
            replace=replace,
            init=init or DEFAULT_INIT,
            budget=o.pairs(budget, "--budget") or None,
            rules=rules,
            example_inputs=loaded.example,
            **o.pairs(setting, "--set"),
        )
        if published is not None:
            progress.step("placing the published weights")
            done = files.convert.adopt(
                loaded, plan, published, output, format=format, force=force, ema=ema, allow_pickle=allow_pickle
            )
        else:
            done = files.convert.convert(
                loaded, plan, output, format=format, force=force, drop_optimizer=drop_optimizer, progress=progress
            )
    if as_json:
        return screen.dump(_as_json(done, output))
    if not quiet:
        _print(done, output)


def _planned(attention: str | None, file: str | None, beside: Mapping[str, object]) -> Plan | None:
    """The plan in a file; None where one is to be made for `attention`.

    Args:
        beside: the options that say what a plan says already.

    Raises:
        BadOption: neither of the two, or something beside a plan.
    """
    if file is None:
        if attention is None:
            raise BadOption("Missing option '--attention', such as cbam; or --plan with a file of surgeon plan --json.")
        return None
    given = [name for name, value in {"--attention": attention, **beside}.items() if value]
    if given:
        raise BadOption(f"--plan {file} says all that {given[0]} says. Give one of the two.")
    return read_plan(file)


def _only_published(source: str, weights: str | None, pretrained: bool) -> None:
    """Refuse weights from two places."""
    if not files.intake.is_name(source):
        raise BadOption(
            f"--published brings every weight, and {source} has its own: "
            "give torchvision:NAME or timm:NAME as the source."
        )
    if weights is not None or pretrained:
        other = "--pretrained" if pretrained else "--weights"
        raise BadOption(f"--published and {other} are two answers to one question. Give one.")


def _open(
    source: str,
    *,
    arch: str | None,
    weights: str | None,
    num_classes: int | None,
    arg: list[str] | None,
    allow_pickle: bool,
    allow_imports: bool,
    example: str | None,
    pretrained: bool = False,
    ema: bool = False,
    progress: Progress | None = None,
) -> LoadedModel:
    """The network that a source stands for, from the options as they were typed."""
    return files.intake.open_source(
        source,
        arch=arch,
        weights=weights,
        pretrained=pretrained,
        num_classes=num_classes,
        arguments=o.pairs(arg, "--arg"),
        allow_pickle=allow_pickle,
        allow_imports=allow_imports,
        ema=ema,
        copy=False,
        example_inputs=files.example.read_example(example),
        progress=progress,
    )


def _where(places: list[str] | None) -> str | list[str]:
    places = places or ["residual"]
    return places[0] if len(places) == 1 else places


def _as_json(done: Conversion, output: str) -> dict[str, Any]:
    return {
        "source": done.loaded.description,
        "notes": done.loaded.notes,
        "plan": done.plan.to_dict(),
        "parameters": done.parameters,
        "added": sum(site.parameters or 0 for site in done.plan),
        "moved": done.moved and done.moved.absolute,
        "moved_relative": done.moved and done.moved.relative,
        "output": output,
        "takes": done.note,
    }


def _print(done: Conversion, output: str) -> None:
    screen.say(done.loaded.description)
    for note in done.loaded.notes:
        screen.say(f"note: {note}")
    screen.sites(done.plan, done.parameters)
    screen.say(_moved(done))
    screen.say(f"written: {output}" + (f" ({done.note})" if done.note else ""))


def _extent(done: Conversion) -> str:
    """How far the attention acts: a file that surgeon's own training made has gammas in it."""
    found = done.gammas
    if all(value == 1 for value in found):
        return "in full"
    return f"as far as the file's own gammas let it, from {min(found):.3g} to {max(found):.3g}"


def _moved(done: Conversion) -> str:
    if done.is_published:
        return f"every published tensor has its place, and the attention acts {_extent(done)}, as it was trained"
    if done.moved is None:
        return "output not compared: surgeon knows no image that this network takes as it is"
    if done.plan.init != "paper":
        return "output on a small image: the same as before, bit for bit"
    return (
        f"output on a small image moved by up to {done.moved.absolute:.3g} "
        f"({done.moved.relative:.1%} of the largest output): "
        "with init=paper the network has to be trained before it is used"
    )
