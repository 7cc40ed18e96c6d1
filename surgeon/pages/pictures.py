"""Image files as people have them: found, read, and made into what a network takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from surgeon.errors import BadInput, BadOption
from surgeon.networks.samples import natural, sized
from surgeon.pages.needs import needed
from surgeon.trace.noise import noted, resolved

if TYPE_CHECKING:
    from torch import nn

# What most networks for photographs were trained with, torchvision's and nearly all of timm's among them.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Numbers = Sequence[float]
Name = str | PathLike[str]


@dataclass(frozen=True)
class Pictures:
    """names: of the files, or of the folders of clips, each once. images: what the network takes.

    pixels: the same from 0 to 1, N x C x H x W, or N x C x T x H x W.
    """

    names: tuple[str, ...]
    pixels: Tensor
    images: Tensor


def read(
    paths: Iterable[Name],
    model: nn.Module,
    *,
    size: tuple[int, int] | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> Pictures:
    """Image files, and all that lie in folders, resized and normalised for `model`.

    Args:
        size: height and width; as it was planned with, or what the model says of itself, if not given.
        mean, std: of each channel, from 0 to 1; the model's own (timm's notes), else ImageNet's for colours and none
            for grey.

    Raises:
        BadInput: one is no image, or there is none. NotInstalled: pillow is not there.
    """
    given = [*map(Path, paths)]
    refuse_missing(given)
    channels, *frames, height, width = shape_of(model, size)
    found = given if frames else [*_files(given)]
    taken = [
        _clip(path, channels, frames[0], (height, width)) if frames else _pixels(path, channels, (height, width))
        for path in found
    ]
    pixels = torch.stack(taken)
    return Pictures(tuple(_names(found)), pixels, normalised(pixels, model, mean, std))


def refuse_missing(paths: Iterable[Name]) -> None:
    """Refuse, before any work, what is not there.

    Raises:
        BadInput: by its path.
    """
    for path in paths:
        if not Path(path).exists():
            raise BadInput(f"there is no image {path}.")


def shape_of(model: nn.Module, size: tuple[int, int] | None) -> tuple[int, ...]:
    """Channels, height and width of what the network takes, and frames behind the channels of a clip.

    It is as the network was planned with, or as it says of itself and runs on.

    Raises:
        BadInput: it takes something else, or nobody knows what.
    """
    example = resolved(noted(model), model)
    if example is not None and len(example.args) == 1:
        image = example.args[0]
    else:
        image = sized(model, size) if size else natural(model)
    channels, *own = image.shape[1:]
    if channels not in (1, 3) or len(own) not in (2, 3):
        raise BadInput(f"{type(model).__name__} takes no images of 1 or 3 channels: give tensors, as it takes them.")
    return (channels, *own[:-2], *(size or own[-2:]))


def normalised(pixels: Tensor, model: nn.Module, mean: Numbers | None, std: Numbers | None) -> Tensor:
    """Pixels from 0 to 1 as the network was trained with them."""
    own = _noted(model, pixels.shape[1]) or (IMAGENET if pixels.shape[1] == 3 else ((0.0,), (1.0,)))
    means, stds = mean or own[0], std or own[1]
    for name, numbers in (("mean", means), ("std", stds)):
        if len(numbers) not in (1, pixels.shape[1]):
            raise BadOption(f"{name} has {len(numbers)} numbers, and the images have {pixels.shape[1]} channels.")
    shift, scale = (
        torch.tensor(numbers, dtype=pixels.dtype).view(1, -1, *[1] * (pixels.dim() - 2)) for numbers in (means, stds)
    )
    return (pixels - shift) / scale


def _noted(model: nn.Module, channels: int) -> tuple[Numbers, Numbers] | None:
    """What timm's notes on the weights say; None where those are of another number of channels."""
    config: Any = getattr(model, "pretrained_cfg", None)
    if not isinstance(config, Mapping) or not config.get("mean") or not config.get("std"):
        return None
    return (config["mean"], config["std"]) if len(config["mean"]) == channels else None


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from _inside(path)
        else:
            yield path


def _inside(folder: Path) -> list[Path]:
    endings = needed("PIL.Image").registered_extensions()
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in endings)
    if not found:
        raise BadInput(f"{folder} has no image in it (.png, .jpg and the like; folders inside it are not looked into).")
    return found


def _clip(folder: Path, channels: int, frames: int, size: tuple[int, int]) -> Tensor:
    """Frames of a folder, evenly over all that it has, C x T x H x W."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder: this network takes clips of {frames} frames, each a folder of images.")
    files = _inside(folder)
    chosen = torch.linspace(0, len(files) - 1, frames).round().int().tolist()
    return torch.stack([_pixels(files[number], channels, size) for number in chosen], 1)


def _pixels(path: Path, channels: int, size: tuple[int, int]) -> Tensor:
    image = needed("PIL.Image")
    return tensor_of(picture(path, channels).resize(size[::-1], image.Resampling.BICUBIC))


def picture(path: Path, channels: int) -> Any:
    """The image in a file, of pillow's, in colours or grey.

    Raises:
        BadInput: there is none that can be read.
    """
    image = needed("PIL.Image")
    try:
        with image.open(path) as opened:
            # More than 8 bits would be cut off, and not scaled.
            deep = opened.mode.startswith("I")
            shown = opened.convert("I").point(lambda value: value / 256).convert("L") if deep else opened
            return shown.convert("RGB" if channels == 3 else "L")
    # Pillow raises whatever a damaged file leads it to.
    except Exception as error:
        raise BadInput(f"{path} is no image that can be read ({type(error).__name__}).") from None


def tensor_of(picture: Any) -> Tensor:
    """An image of pillow's as C x H x W from 0 to 1."""
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return flat.view(picture.height, picture.width, -1).permute(2, 0, 1).float() / 255


def _names(paths: Iterable[Path]) -> Iterator[str]:
    """Names of files without their endings; where two are alike, with a number."""
    seen: dict[str, int] = {}
    for path in paths:
        seen[path.stem] = seen.get(path.stem, 0) + 1
        yield path.stem if seen[path.stem] == 1 else f"{path.stem}-{seen[path.stem]}"
