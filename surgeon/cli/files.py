"""`surgeon show`, `strip`, `delta`, `merge`, `export` and `verify`: what to do with files of surgeon's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import surgeon
from surgeon import files
from surgeon.cli import drawing, screen
from surgeon.cli import options as o
from surgeon.errors import BadOption, CheckFailed
from surgeon.files.label import read_label
from surgeon.sites import opened_in_words

if TYPE_CHECKING:
    from surgeon.files.label import Label
    from surgeon.networks.blueprint import Base
    from surgeon.sites import Plan

BASE = Annotated[
    str, o.argument("A checkpoint of the base, or timm:NAME or torchvision:NAME for the library's own weights.")
]
DELTA = Annotated[str, o.argument("What `surgeon delta` wrote.", metavar="DELTA")]
BASE_CHECKPOINT = Annotated[str | None, o.argument("A checkpoint of the base.")]
# More settings than this are only counted.
MOST_SETTINGS = 3


def show(
    file: o.FILE,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    html: o.HTML = None,
    svg: o.SVG = None,
    measure: o.MEASURE = False,
    force: o.FORCE = False,
    as_json: o.JSON = False,
    quiet: o.QUIET = False,
) -> None:
    """What a file is: its network, its attention, and what it was made from. Builds nothing, runs nothing.

    Example: `surgeon show resnet50_cbam.safetensors`

    To look at it, the network is built, and runs on shapes alone: `surgeon show resnet50_cbam.safetensors
    --html page.html`; with --measure it is loaded in full, and runs.
    """
    drawing.refuse_targets(html, svg, force=force, measure=measure)
    label = read_label(file, allow_pickle=allow_pickle)
    facts, plans = _facts(label), label.recipe.operations
    if html or svg:
        measures = None
        if measure:
            loaded = files.intake.open_source(file, allow_pickle=allow_pickle, allow_imports=allow_imports)
            measures = drawing.measured(loaded, None, quiet=quiet or as_json)
        drawing.write_file(label, file, allow_imports=allow_imports, html=html, svg=svg, force=force, measures=measures)
    if as_json:
        return screen.dump(facts | {"plans": [plan.to_dict() for plan in plans]})
    if not quiet:
        screen.facts(facts, title=str(file))
        for plan in plans:
            screen.sites(plan, label.recipe.parameters or 0)
        drawing.told(html, svg)


def _facts(label: Label) -> dict[str, Any]:
    recipe, attention = label.recipe, label.attention
    is_delta = len(attention) == len(label.tensors)
    return {
        "base": _base(recipe.base),
        **_settings(recipe.base.settings),
        "attention": "; ".join(map(_operation, recipe.operations)),
        "holds": "attention alone (a delta)" if is_delta else "the whole network",
        **({"parameters": recipe.parameters} if recipe.parameters is not None else {}),
        "parameters of the attention": sum(site.parameters or 0 for plan in recipe.operations for site in plan),
        **({"opened": opened_in_words(recipe.opened)} if recipe.opened else {}),
        "bytes": sum(entry.nbytes for entry in label.tensors.values()),
        **_folded(recipe.settings),
        **({"runs on": str(recipe.example)} if recipe.example else {}),
        "made with": ", ".join(f"{name} {version}" for name, version in recipe.versions.items()),
        "SHA-256 of the base": recipe.sha256,
    }


def _folded(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Said of files that `surgeon fold` wrote."""
    is_folded = any(values.get("folded") for values in settings.values())
    return {"folded": "for deployment: norms inside layers, nothing left to train"} if is_folded else {}


def _base(base: Base) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in base.arguments.items())
    return f"{base}({arguments})" if arguments else str(base)


def _operation(plan: Plan) -> str:
    return f"{plan.attention} at {len(plan)} sites, init {plan.init}"


def _settings(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What was set otherwise than the library does; nothing to say of most networks."""
    listed = []
    for path, values in settings.items():
        listed += [f"{path}.{name}".lstrip(".") + f"={value}" for name, value in values.items()]
    if not listed:
        return {}
    more = f" and {len(listed) - MOST_SETTINGS} more" if len(listed) > MOST_SETTINGS else ""
    return {"set otherwise": ", ".join(listed[:MOST_SETTINGS]) + more}


def strip(
    file: o.FILE,
    output: o.OUTPUT,
    format: o.FORMAT = None,
    force: o.FORCE = False,
    drop_optimizer: o.DROP = False,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    quiet: o.QUIET = False,
    as_json: o.JSON = False,
) -> None:
    """Give the stock checkpoint back: its keys, their order, the bytes of its tensors.

    Example: `surgeon strip resnet50_cbam.safetensors --output resnet50.pth`
    """
    recipe = files.parts.strip(
        file,
        output,
        format=format,
        force=force,
        drop_optimizer=drop_optimizer,
        allow_pickle=allow_pickle,
        allow_imports=allow_imports,
    )
    _done({"base": str(recipe.base), "tensors": len(recipe.stock), "output": output}, as_json, quiet)


def delta(
    file: o.FILE,
    output: o.OUTPUT,
    force: o.FORCE = False,
    allow_pickle: o.PICKLE = False,
    quiet: o.QUIET = False,
    as_json: o.JSON = False,
) -> None:
    """Write the attention alone, to be put back on the same base.

    Example: `surgeon delta resnet50_cbam.safetensors --output cbam.safetensors`
    """
    size = files.parts.delta(file, output, force=force, allow_pickle=allow_pickle)
    _done({"bytes of attention": size, "output": output}, as_json, quiet)


def merge(
    base: BASE,
    part: DELTA,
    output: o.OUTPUT,
    format: o.FORMAT = None,
    force: o.FORCE = False,
    ema: o.EMA = False,
    example: o.EXAMPLE = None,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    quiet: o.QUIET = False,
    as_json: o.JSON = False,
) -> None:
    """Put a delta back on its base; a base with other weights is refused.

    Example: `surgeon merge resnet50.pth cbam.safetensors --output resnet50_cbam.safetensors`
    """
    files.parts.merge(
        base,
        part,
        output,
        format=format,
        force=force,
        ema=ema,
        allow_pickle=allow_pickle,
        allow_imports=allow_imports,
        example_inputs=files.example.read_example(example),
    )
    _done({"output": output}, as_json, quiet)


def export(
    file: o.FILE,
    output: o.OUTPUT,
    format: o.FORMAT = None,
    force: o.FORCE = False,
    example: o.EXAMPLE = None,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    quiet: o.QUIET = False,
    as_json: o.JSON = False,
) -> None:
    """Write a file of surgeon's in another format.

    Example: `surgeon export resnet50_cbam.safetensors --output resnet50_cbam.onnx`
    """
    loaded = files.intake.open_source(
        file, allow_pickle=allow_pickle, allow_imports=allow_imports, example_inputs=files.example.read_example(example)
    )
    if loaded.recipe is None:
        raise BadOption(f"{file} has no attention in it: surgeon inject puts some in, and writes every format as well.")
    text = files.recipe.to_text(loaded.recipe)
    note = files.formats.write(loaded.model, text, output, loaded=loaded, format=format, force=force)
    _done({"base": str(loaded.base), "output": output} | ({"takes": note} if note else {}), as_json, quiet)


def check(
    file: o.FILE,
    example: o.EXAMPLE = None,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    quiet: o.QUIET = False,
    as_json: o.JSON = False,
) -> None:
    """Run a file's network once, and tell which of its attention acts.

    Example: `surgeon check resnet50_cbam.safetensors`
    """
    loaded = files.intake.open_source(
        file, allow_pickle=allow_pickle, allow_imports=allow_imports, example_inputs=files.example.read_example(example)
    )
    activity = surgeon.check(loaded.model, loaded.example)
    if as_json:
        screen.dump({"calls": activity.calls, "idle": activity.idle})
    else:
        screen.say(str(activity), quiet=quiet)
    if not activity.is_whole:
        raise CheckFailed(f"{len(activity.idle)} of {len(activity.calls)} attention modules do not act.")


def verify(
    file: o.FILE,
    base: BASE_CHECKPOINT = None,
    example: o.EXAMPLE = None,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    quiet: o.QUIET = False,
    as_json: o.JSON = False,
) -> None:
    """Rebuild a file's network, compute every hash again, and compare its outputs with the base's.

    Example: `surgeon verify resnet50_cbam.safetensors resnet50.pth`
    """
    with screen.bar("hashing", quiet=quiet or as_json) as progress:
        proof = files.proof.verify(
            file,
            base,
            allow_pickle=allow_pickle,
            allow_imports=allow_imports,
            example_inputs=files.example.read_example(example),
            progress=progress,
        )
    moves = f"the output moves by up to {proof.distance or 0:.3g}"
    facts = {
        "tensors that agree with their SHA-256": proof.tensors,
        "without attention": _claim(proof.same_base, "the base, bit for bit", ""),
        "with attention": _claim(proof.is_identity, "the same output, bit for bit", moves),
    }
    _done(facts, as_json, quiet)


def _claim(holds: bool | None, yes: str, no: str) -> str:
    if holds is None:
        return "not compared: surgeon knows no image that it takes"
    return yes if holds else no


def _done(facts: Mapping[str, object], as_json: bool, quiet: bool) -> None:
    if as_json:
        screen.dump(facts)
    elif not quiet:
        screen.facts(facts)
