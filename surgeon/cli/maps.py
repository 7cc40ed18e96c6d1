"""`surgeon maps`: what the attention in a file decides on images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from surgeon.cli import options as o
from surgeon.cli import screen
from surgeon.errors import BadOption

if TYPE_CHECKING:
    from torch import nn

    from surgeon.files.loaded import LoadedModel

IMAGES = Annotated[list[str], o.argument("Image files, and folders of them.", metavar="IMAGES...")]
FOLDER = Annotated[str, o.option("--output", "-o", metavar="FOLDER", help="The folder to write.")]
SITES = Annotated[
    list[str] | None,
    o.option("--site", metavar="GLOB", help="Only gates whose path matches; may be repeated. [default: all]"),
]
CLASS = Annotated[int | None, o.option("--class", min=0, help="What Grad-CAM is for. [default: what the network says]")]
LAYER = Annotated[
    str | None, o.option("--layer", help="The module whose map Grad-CAM weighs. [default: that of the last map]")
]
NO_CAM = Annotated[bool, o.switch("--no-cam", help="Leave Grad-CAM out.")]
BESIDE = Annotated[
    list[str] | None,
    o.option(
        "--beside",
        metavar="FILE",
        help="Another network whose Grad-CAM is shown beside: a file of surgeon's, a checkpoint, torchvision:NAME or "
        "timm:NAME with the library's weights; may be repeated.",
    ),
]
SIZE = Annotated[
    str | None, o.option("--size", metavar="H,W", help="What images are resized to. [default: the network's]")
]
MEAN = Annotated[str | None, o.option("--mean", metavar="R,G,B", help="Subtracted from pixels of 0 to 1.")]
STD = Annotated[str | None, o.option("--std", metavar="R,G,B", help="What they are divided by then.")]


def maps(
    file: o.FILE,
    images: IMAGES,
    output: FOLDER,
    site: SITES = None,
    number: CLASS = None,
    layer: LAYER = None,
    beside: BESIDE = None,
    no_cam: NO_CAM = False,
    size: SIZE = None,
    mean: MEAN = None,
    std: STD = None,
    force: o.FORCE = False,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    as_json: o.JSON = False,
    quiet: o.QUIET = False,
) -> None:
    """Pictures of what attention decides on images, with Grad-CAM without and with it beside them.

    Example: `surgeon maps resnet50_cbam.safetensors photographs --output maps`

    The plain, the SE and the CBAM network side by side, as CBAM's paper shows them: `surgeon maps cbam.safetensors
    photographs --beside resnet50.pth --beside se.safetensors --output maps`
    """
    from surgeon.files import intake
    from surgeon.files.atomic import refuse_target
    from surgeon.pages.maps import maps as seen_by
    from surgeon.pages.needs import needed
    from surgeon.pages.pictures import refuse_missing

    refuse_target(Path(output).resolve(), force)
    loaded = intake.open_source(file, allow_pickle=allow_pickle, allow_imports=allow_imports)
    refuse_missing(images)
    others = _others(beside or (), loaded, allow_pickle=allow_pickle, allow_imports=allow_imports)
    # Before Grad-CAM, which takes its time.
    needed("matplotlib")
    seen = seen_by(
        loaded.model,
        images,
        sites=site or (),
        classes=number,
        cam=not no_cam,
        layer=layer,
        beside=others,
        name=Path(file).stem if others else "",
        size=sides(size),
        mean=numbers(mean, "--mean"),
        std=numbers(std, "--std"),
    )
    seen.save(output, force=force)
    page = str(Path(output) / "index.html")
    if as_json:
        shown = {"spatial": [*seen.spatial], "channel": [*seen.channel], "not shown": seen.silent}
        return screen.dump(
            {"output": page, "images": seen.names, **shown, "layer": seen.layer, "classes": seen.classes}
            | {"grad-cam": [*seen.cams]}
        )
    kind = "image" if seen.pixels.dim() == 4 else "clip"
    count = len(seen.names)
    screen.say(f"written: {page} ({count} {kind}{'s' * (count != 1)})", quiet=quiet)


def _others(
    sources: Sequence[str], beside: LoadedModel, *, allow_pickle: bool, allow_imports: bool
) -> dict[str, nn.Module]:
    """Networks by the names of their files. A checkpoint that does not say what it is for is of the network beside."""
    from surgeon.files import intake

    found: dict[str, nn.Module] = {}
    for source in sources:
        is_name = intake.is_name(source)
        name = source if is_name else Path(source).stem
        if name in found:
            raise BadOption(f"--beside {source}: there is another {name}. Give the files names of their own.")
        base = None if is_name or intake.says_what_it_is(source, allow_pickle=allow_pickle) else beside.base
        found[name] = intake.open_source(
            source,
            arch=str(base) if base else None,
            arguments=base.arguments if base else None,
            pretrained=is_name,
            allow_pickle=allow_pickle,
            allow_imports=allow_imports,
        ).model
    return found


def sides(text: str | None) -> tuple[int, int] | None:
    """`--size 224,224` as height and width."""
    found = numbers(text, "--size", 2)
    return (int(found[0]), int(found[1])) if found else None


def numbers(text: str | None, name: str, count: int | None = None) -> tuple[float, ...] | None:
    """`0.5,0.5,0.5` as numbers."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        numbers = ()
    if not numbers or (count and len(numbers) != count):
        example = "224,224" if count else "0.485,0.456,0.406"
        raise BadOption(f"{name} {text}: write numbers with commas between them, such as {example}.")
    return numbers
