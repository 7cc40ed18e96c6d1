"""`surgeon show`, `strip`, `delta`, `merge`, `export` and `verify`: what to do with files of surgeon's."""

from typing import Annotated, Optional

import typer

from surgeon import files
from surgeon.cli import options as o
from surgeon.cli import screen
from surgeon.errors import BadOption
from surgeon.files.label import read_label

BASE = Annotated[str, typer.Argument(help="A checkpoint of the base, or timm:NAME or torchvision:NAME for the library's own weights.", show_default=False)]


def show(file: o.FILE, allow_pickle: o.PICKLE = False, as_json: o.JSON = False, quiet: o.QUIET = False):
    """What a file is: its network, its attention, and what it was made from. Builds nothing, runs nothing.

    Example: `surgeon show resnet50_cbam.safetensors`
    """
    label = read_label(file, allow_pickle=allow_pickle)
    told = _told(label)
    if as_json:
        return screen.dump(told | {"plans": [plan.to_dict() for plan in label.recipe.operations]})
    if not quiet:
        screen.facts(told, title=str(file))
        for plan in label.recipe.operations:
            screen.sites(plan, told["parameters"] - told["parameters of the attention"])


def _told(label):
    made, attention = label.recipe, label.attention
    arguments = ", ".join(f"{key}={value}" for key, value in made.base.arguments.items())
    return {
        "base": f"{made.base}({arguments})" if arguments else str(made.base),
        **_settings(made.base.settings),
        "attention": "; ".join(f"{plan.attention} at {len(plan)} sites, init {plan.init}" for plan in made.operations),
        "holds": "attention alone (a delta)" if len(attention) == len(label.tensors) else "the whole network",
        "parameters": sum(entry.numel for entry in label.tensors.values()),
        "parameters of the attention": sum(entry.numel for entry in attention.values()),
        "bytes": sum(entry.nbytes for entry in label.tensors.values()),
        "made with": ", ".join(f"{name} {version}" for name, version in made.versions.items()),
        "SHA-256 of the base": made.sha256,
    }


def _settings(found):
    """What was set otherwise than the library does; nothing to say of most networks."""
    told = [f"{path}.{name}".lstrip(".") + f"={value}" for path, values in found.items() for name, value in values.items()]
    return {"set otherwise": ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")} if told else {}


def strip(file: o.FILE, output: o.OUTPUT, format: o.FORMAT = None, force: o.FORCE = False, drop_optimizer: o.DROP = False, allow_pickle: o.PICKLE = False,
          allow_imports: o.IMPORTS = False, quiet: o.QUIET = False, as_json: o.JSON = False):
    """Give the stock checkpoint back: its keys, their order, the bytes of its tensors.

    Example: `surgeon strip resnet50_cbam.safetensors --output resnet50.pth`
    """
    made = files.parts.strip(file, output, format=format, force=force, drop_optimizer=drop_optimizer, allow_pickle=allow_pickle, allow_imports=allow_imports)
    _done({"base": str(made.base), "tensors": len(made.stock), "output": output}, as_json, quiet)


def delta(file: o.FILE, output: o.OUTPUT, force: o.FORCE = False, allow_pickle: o.PICKLE = False, quiet: o.QUIET = False, as_json: o.JSON = False):
    """Write the attention alone, to be put back on the same base.

    Example: `surgeon delta resnet50_cbam.safetensors --output cbam.safetensors`
    """
    size = files.parts.delta(file, output, force=force, allow_pickle=allow_pickle)
    _done({"bytes of attention": size, "output": output}, as_json, quiet)


def merge(base: BASE, part: Annotated[str, typer.Argument(metavar="DELTA", help="What `surgeon delta` wrote.", show_default=False)], output: o.OUTPUT,
          format: o.FORMAT = None, force: o.FORCE = False, ema: o.EMA = False, allow_pickle: o.PICKLE = False, allow_imports: o.IMPORTS = False,
          quiet: o.QUIET = False, as_json: o.JSON = False):
    """Put a delta back on its base; a base with other weights is refused.

    Example: `surgeon merge resnet50.pth cbam.safetensors --output resnet50_cbam.safetensors`
    """
    files.parts.merge(base, part, output, format=format, force=force, ema=ema, allow_pickle=allow_pickle, allow_imports=allow_imports)
    _done({"output": output}, as_json, quiet)


def export(file: o.FILE, output: o.OUTPUT, format: o.FORMAT = None, force: o.FORCE = False, allow_pickle: o.PICKLE = False,
           allow_imports: o.IMPORTS = False, quiet: o.QUIET = False, as_json: o.JSON = False):
    """Write a file of surgeon's in another format.

    Example: `surgeon export resnet50_cbam.safetensors --output resnet50_cbam.onnx`
    """
    loaded = files.intake.open_source(file, allow_pickle=allow_pickle, allow_imports=allow_imports)
    if loaded.recipe is None:
        raise BadOption(f"{file} has no attention in it: surgeon inject puts some in, and writes every format as well.")
    told = files.formats.write(loaded.model, files.recipe.to_text(loaded.recipe), output, loaded=loaded, format=format, force=force)
    _done({"base": str(loaded.base), "output": output} | ({"takes": told} if told else {}), as_json, quiet)


def verify(file: o.FILE, base: Annotated[Optional[str], typer.Argument(help="A checkpoint of the base.", show_default=False)] = None,
           allow_pickle: o.PICKLE = False, allow_imports: o.IMPORTS = False, quiet: o.QUIET = False, as_json: o.JSON = False):
    """Rebuild a file's network, compute every hash again, and compare its outputs with the base's.

    Example: `surgeon verify resnet50_cbam.safetensors resnet50.pth`
    """
    with screen.bar("hashing", quiet=quiet or as_json) as progress:
        found = files.proof.verify(file, base, allow_pickle=allow_pickle, allow_imports=allow_imports, progress=progress)
    told = {"tensors that agree with their SHA-256": found.tensors, "without attention": _words(found.same_base, "the base, bit for bit", ""),
            "with attention": _words(found.is_identity, "the same output, bit for bit", f"the output moves by up to {found.distance or 0:.3g}")}
    _done(told, as_json, quiet)


def _words(claim, yes, no):
    return "not compared: surgeon knows no image that it takes" if claim is None else yes if claim else no


def _done(told, as_json, quiet):
    if as_json:
        screen.dump(told)
    elif not quiet:
        screen.facts(told)
