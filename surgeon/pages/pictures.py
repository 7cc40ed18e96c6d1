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
from surgeon.pages.needs import needed
from surgeon.trace.inputs import guesses

if TYPE_CHECKING:
    from torch import nn

# What most networks for photographs were trained with, torchvision's and nearly all of timm's among them.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Numbers = Sequence[float]
Name = str | PathLike[str]


@dataclass(frozen=True)
class Pictures:
    """names: of the files, each once. pixels: N x C x H x W from 0 to 1. images: the same as the network takes them."""

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
        size: height and width; what the model says of itself, else 224.
        mean, std: of each channel, from 0 to 1; the model's own (timm's notes), else ImageNet's for colours and none
            for grey.

    Raises:
        BadInput: one is no image, or there is none. NotInstalled: pillow is not there.
    """
    found = list(_files(paths))
    channels, *own = next(iter(guesses(model)), (3, 224, 224))
    if channels not in (1, 3) or len(own) != 2:
        raise BadInput(f"{type(model).__name__} takes no images of 1 or 3 channels: give tensors, as it takes them.")
    sides = size or (own[0], own[1])
    pixels = torch.stack([_pixels(path, channels, sides) for path in found])
    return Pictures(tuple(_names(found)), pixels, normalised(pixels, model, mean, std))


def normalised(pixels: Tensor, model: nn.Module, mean: Numbers | None, std: Numbers | None) -> Tensor:
    """Pixels from 0 to 1 as the network was trained with them."""
    own = _noted(model, pixels.shape[1]) or (IMAGENET if pixels.shape[1] == 3 else ((0.0,), (1.0,)))
    means, stds = mean or own[0], std or own[1]
    for name, numbers in (("mean", means), ("std", stds)):
        if len(numbers) not in (1, pixels.shape[1]):
            raise BadOption(f"{name} has {len(numbers)} numbers, and the images have {pixels.shape[1]} channels.")
    shift, scale = (torch.tensor(numbers, dtype=pixels.dtype).view(1, -1, 1, 1) for numbers in (means, stds))
    return (pixels - shift) / scale


def _noted(model: nn.Module, channels: int) -> tuple[Numbers, Numbers] | None:
    """What timm's notes on the weights say; None where those are of another number of channels."""
    config: Any = getattr(model, "pretrained_cfg", None)
    if not isinstance(config, Mapping) or not config.get("mean") or not config.get("std"):
        return None
    return (config["mean"], config["std"]) if len(config["mean"]) == channels else None


def _files(paths: Iterable[Name]) -> Iterator[Path]:
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        endings = needed("PIL.Image").registered_extensions()
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in endings)
        if not inside:
            raise BadInput(
                f"{path} has no image in it (.png, .jpg and the like; folders inside it are not looked into)."
            )
        yield from inside


def _pixels(path: Path, channels: int, size: tuple[int, int]) -> Tensor:
    image = needed("PIL.Image")
    try:
        with image.open(path) as opened:
            picture = opened.convert("RGB" if channels == 3 else "L").resize(size[::-1], image.Resampling.BICUBIC)
    except FileNotFoundError:
        raise BadInput(f"there is no image {path}.") from None
    # Pillow raises whatever a damaged file leads it to.
    except Exception as error:
        raise BadInput(f"{path} is no image that can be read ({type(error).__name__}).") from None
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return flat.view(*size, channels).permute(2, 0, 1).float() / 255


def _names(paths: Iterable[Path]) -> Iterator[str]:
    """Names of files without their endings; where two are alike, with a number."""
    seen: dict[str, int] = {}
    for path in paths:
        seen[path.stem] = seen.get(path.stem, 0) + 1
        yield path.stem if seen[path.stem] == 1 else f"{path.stem}-{seen[path.stem]}"
