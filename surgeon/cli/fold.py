"""`surgeon fold`: a file for deployment."""

from __future__ import annotations

from surgeon import files
from surgeon.cli import options as o
from surgeon.cli import screen


def fold(
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
    """Write a file's network for deployment: norms of the attention inside its layers, gates that do nothing left out.

    Example: `surgeon fold resnet50_cbam.safetensors --output resnet50_folded.onnx`
    """
    loaded = files.intake.open_source(
        file, allow_pickle=allow_pickle, allow_imports=allow_imports, example_inputs=files.example.read_example(example)
    )
    done = files.fold.fold(loaded, output, format=format, force=force)
    before, after = done.modules
    facts: dict[str, object] = {
        "attention modules": len(done.gates),
        "left out": list(done.gone) if as_json else ", ".join(done.gone) or "none",
        "modules": [before, after] if as_json else f"{after} in place of {before}",
        "output": output,
    }
    facts |= {"moved": done.distance} if as_json else {"output on a small image moved by": _moved(done.distance)}
    facts |= {"takes": done.note} if done.note else {}
    if as_json:
        screen.dump(facts)
    elif not quiet:
        screen.facts(facts)


def _moved(distance: float | None) -> str:
    return "not compared: surgeon knows no image that it takes" if distance is None else f"up to {distance:.3g}"
