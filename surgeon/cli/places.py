"""`surgeon places`: how many sites of each place a network has."""

from __future__ import annotations

from typing import Annotated

import surgeon
from surgeon import networks
from surgeon.cli import options as o
from surgeon.cli import screen
from surgeon.cli.source import opened
from surgeon.errors import BadOption, suggest

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
    loaded = opened(
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
