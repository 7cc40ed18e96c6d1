"""`surgeon compare` and `surgeon rank`: what attention is worth on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import surgeon
from surgeon import files
from surgeon.cli import options as o
from surgeon.cli import screen
from surgeon.cli.maps import SIZE, sides
from surgeon.errors import BadOption
from surgeon.files.atomic import refuse_target, replacing

if TYPE_CHECKING:
    from surgeon.files.loaded import LoadedModel
    from surgeon.pages.evidence.comparing import Comparison
    from surgeon.pages.evidence.ranking import Ranking

BASE = Annotated[
    str, o.argument("The network without: a checkpoint, or torchvision:NAME, timm:NAME or sample:digits as they come.")
]
DATA = Annotated[
    str,
    o.option(
        "--data", help="A folder with a folder of images for each class (in val if there is one), or sample:digits."
    ),
]
BATCH = Annotated[int, o.typer.Option("--batch", min=1, help="Images at a time.")]
PAGE = Annotated[str | None, o.option("--html", metavar="FILE", help="Write it as a page as well.")]
KEEP = Annotated[
    int | None,
    o.option("--keep", min=1, metavar="N", help="Write the network with its N best sites alone to --output."),
]
OUTPUT = Annotated[str | None, o.option("--output", "-o", help="Where --keep writes; the ending chooses the format.")]


def compare(
    base: BASE,
    file: o.FILE,
    data: DATA,
    batch: BATCH = 32,
    size: SIZE = None,
    html: PAGE = None,
    force: o.FORCE = False,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    quiet: o.QUIET = False,
    as_json: o.JSON = False,
) -> None:
    """A file's network beside its base on labelled images: accuracy in pairs, time, memory, weights.

    Example: `surgeon compare resnet50.pth resnet50_cbam.safetensors --data photographs --html compared.html`
    """
    _refuse(html, force)
    loaded = _attention(file, allow_pickle=allow_pickle, allow_imports=allow_imports)
    plain = files.proof.base_of(base, loaded, file, allow_pickle=allow_pickle)
    found = surgeon.compare(plain, loaded.model, data, batch=batch, size=sides(size), name=str(loaded.base))
    _tell(found, html, force=force, as_json=as_json, quiet=quiet)


def rank(
    file: o.FILE,
    data: DATA,
    batch: BATCH = 32,
    size: SIZE = None,
    keep: KEEP = None,
    output: OUTPUT = None,
    format: o.FORMAT = None,
    html: PAGE = None,
    force: o.FORCE = False,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    quiet: o.QUIET = False,
    as_json: o.JSON = False,
) -> None:
    """Which sites of a file are worth it: what is lost on labelled images when one gate is switched off.

    Example: `surgeon rank resnet50_cbam.safetensors --data photographs --html ranked.html`

    The best sites alone: `surgeon rank resnet50_cbam.safetensors --data photographs --keep 6 -o best.safetensors`
    """
    if (keep is None) != (output is None):
        raise BadOption("--keep N says how many sites to keep, and --output where to write them: give both or none.")
    _refuse(html, force)
    if output is not None:
        files.formats.format_of(output, format)
        _refuse(output, force)
    loaded = _attention(file, allow_pickle=allow_pickle, allow_imports=allow_imports)
    count = len(surgeon.attention_modules(loaded.model))
    if keep is not None and keep > count:
        raise BadOption(f"--keep {keep}: {file} has {count} attention modules.")
    found = surgeon.rank(loaded.model, data, batch=batch, size=sides(size), name=str(loaded.base))
    if keep is not None and output is not None:
        gone = [worth.path for worth in found.sites[keep:]]
        if gone:
            surgeon.remove(loaded.model, *gone)
        files.fold.write_anew(loaded, output, format=format, force=force)
    _tell(found, html, force=force, as_json=as_json, quiet=quiet, output=output)


def _attention(file: str, *, allow_pickle: bool, allow_imports: bool) -> LoadedModel:
    loaded = files.intake.open_source(file, allow_pickle=allow_pickle, allow_imports=allow_imports)
    if not surgeon.attention_modules(loaded.model):
        raise BadOption(f"there is no attention in {file}: surgeon inject puts some in.")
    return loaded


def _refuse(target: str | None, force: bool) -> None:
    if target:
        refuse_target(Path(target).resolve(), force)


def _tell(
    found: Comparison | Ranking, html: str | None, *, force: bool, as_json: bool, quiet: bool, output: str | None = None
) -> None:
    """Write the page, and print the rest."""
    if html:
        with replacing(html, force=force) as fresh:
            fresh.write_text(found.html(), encoding="utf-8")
    if as_json:
        return screen.dump(found.to_dict() | ({"output": output} if output else {}))
    screen.say(str(found), quiet=quiet)
    for target in filter(None, (html, output)):
        screen.say(f"written: {target}", quiet=quiet)
