"""Labelled images as people have them: the digits on board, a folder for each class, tensors, a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from surgeon.errors import BadInput
from surgeon.pages.needs import needed
from surgeon.pages.pictures import normalised, picture, shape_of, tensor_of
from surgeon.samples.images import digits

if TYPE_CHECKING:
    from torch import nn

Batch = tuple[Tensor, Tensor]
Data = str | PathLike[str] | tuple[Tensor, Tensor] | Iterable[Any]
# How much of a resized image networks for photographs are shown, where nobody says.
CROP = 0.875
# Folders for judging, beside one for training.
JUDGING = ("val", "test")


@dataclass(frozen=True)
class Labelled:
    """Images with their classes.

    name: for readers. classes: the names of all of them; None where nobody says how many there are.
    batches: gives images (N, C, H, W) as the network takes them, and N numbers of classes.
    """

    name: str
    classes: tuple[str, ...] | None
    batches: Callable[[], Iterator[Batch]]


def labelled(data: Data, model: nn.Module, *, batch: int = 32, size: tuple[int, int] | None = None) -> Labelled:
    """The images that `data` means, prepared for `model`.

    Args:
        data: `sample:digits` (the test part); a folder with a folder of images for each class, in the order of their
            names, or one that has such folders in `val` or `test`; a pair of tensors; or batches, as a DataLoader gives
            them.
        batch: images at a time, where that is not given.
        size: height and width that image files are brought to; what the network was made for if not given.

    Raises:
        BadInput: there is no such folder, or no image in it. NotInstalled: pillow is not there, for a folder.
    """
    if isinstance(data, str) and data == "sample:digits":
        images, labels = digits("test")
        return Labelled(data, tuple("0123456789"), lambda: _split(images, labels, batch))
    if isinstance(data, str | PathLike):
        return _folder(Path(fspath(data)), model, batch, size)
    parts = [*data] if isinstance(data, tuple) and len(data) == 2 else []
    if all(isinstance(part, Tensor) for part in parts) and parts:
        return Labelled("the images given", None, lambda: _split(parts[0], parts[1], batch))
    batches: Iterable[Any] = data
    return Labelled("the batches given", None, lambda: ((one[0], one[1]) for one in batches))


def _split(images: Tensor, labels: Tensor, batch: int) -> Iterator[Batch]:
    if len(images) != len(labels):
        raise BadInput(f"there are {len(images)} images and {len(labels)} labels.")
    return iter(zip(images.split(batch), labels.split(batch)))


def _folder(root: Path, model: nn.Module, batch: int, size: tuple[int, int] | None) -> Labelled:
    if not root.is_dir():
        raise BadInput(f"there is no folder {root}: one with a folder of images for each class, or sample:digits.")
    home = next((root / name for name in JUDGING if (root / name).is_dir()), root)
    endings = needed("PIL.Image").registered_extensions()
    classes = sorted(path for path in home.iterdir() if path.is_dir())
    files = [
        (file, number)
        for number, folder in enumerate(classes)
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in endings
    ]
    if not files:
        raise BadInput(
            f"{home} has no image in it: a folder for each class, with .png, .jpg and the like, is expected."
        )

    shape = _shape(model, size)

    def batches() -> Iterator[Batch]:
        for start in range(0, len(files), batch):
            part = files[start : start + batch]
            pixels = torch.stack([_pixels(file, shape, _crop(model)) for file, _ in part])
            yield normalised(pixels, model, None, None), torch.tensor([number for _, number in part])

    return Labelled(str(root), tuple(path.name for path in classes), batches)


def _shape(model: nn.Module, size: tuple[int, int] | None) -> tuple[int, int, int]:
    channels, *sides = shape_of(model, size)
    if len(sides) != 2:
        raise BadInput(f"{type(model).__name__} takes no images of 1 or 3 channels: give batches, as it takes them.")
    return channels, sides[0], sides[1]


def _pixels(file: Path, shape: tuple[int, int, int], crop: float) -> Tensor:
    """The middle of an image, from 0 to 1."""
    channels, height, width = shape
    image = picture(file, channels)
    scale = max(height / image.height, width / image.width) / crop
    sides = round(scale * image.width), round(scale * image.height)
    left, top = (sides[0] - width) // 2, (sides[1] - height) // 2
    resized = image.resize(sides, needed("PIL.Image").Resampling.BICUBIC)
    return tensor_of(resized.crop((left, top, left + width, top + height)))


def _crop(model: nn.Module) -> float:
    """The share of each side that the network is shown: as timm notes it, or as most of torchvision's have it."""
    config: Any = getattr(model, "pretrained_cfg", None)
    found = config.get("crop_pct") if isinstance(config, Mapping) else None
    return float(found or CROP)
