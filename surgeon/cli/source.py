"""The network that a command works on, from its options as they were typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from surgeon import files
from surgeon.cli import options as o

if TYPE_CHECKING:
    from surgeon.files.convert import Progress
    from surgeon.files.loaded import LoadedModel


def opened(
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
    """The network that `source` stands for."""
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


def where_of(places: list[str] | None) -> str | list[str]:
    """What `--where` says, given once or several times."""
    places = places or ["residual"]
    return places[0] if len(places) == 1 else places
