"""`surgeon strip`, `delta`, `merge`, `export` and `verify`: what to do with files of surgeon's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import surgeon
from surgeon import files
from surgeon.cli import options as o
from surgeon.cli import screen
from surgeon.errors import BadOption, CheckFailed

BASE = Annotated[
    str, o.argument("A checkpoint of the base, or timm:NAME or torchvision:NAME for the library's own weights.")
]
DELTA = Annotated[str, o.argument("What `surgeon delta` wrote.", metavar="DELTA")]
BASE_CHECKPOINT = Annotated[str | None, o.argument("A checkpoint of the base.")]


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
