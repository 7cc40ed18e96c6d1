"""`surgeon inject`: attention into a network, and the network into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import surgeon
from surgeon import files
from surgeon.cli import options as o
from surgeon.cli import screen
from surgeon.cli.source import opened, where_of
from surgeon.errors import BadOption
from surgeon.files.planned import read_plan
from surgeon.sites import DEFAULT_INIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from surgeon.files.convert import Conversion
    from surgeon.sites import Plan


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
        loaded = opened(
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
            where=where_of(where),
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
