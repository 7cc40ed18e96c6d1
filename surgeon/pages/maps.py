"""What the attention of a network decides on images: scores of positions and channels, and Grad-CAM beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from surgeon.anatomy.watch import observed
from surgeon.attention import attention_modules, disabled, record
from surgeon.attention.gates import matching
from surgeon.errors import BadInput, BadModel, BadOption
from surgeon.pages import album
from surgeon.pages.cam import classes_of, grad_cam, layer_of
from surgeon.pages.pictures import Name, Numbers, Pictures, read
from surgeon.pages.seen import Seen
from surgeon.trace.inputs import Arguments
from surgeon.trace.state import in_mode

if TYPE_CHECKING:
    from torch import nn

    from surgeon.attention.gate import Maps as Recorded


class AttentionMaps(Seen):
    """What was seen of N images; `save` writes it to a folder."""

    def save(self, folder: str | PathLike[str], *, force: bool = False) -> None:
        """Write all to a new folder: a PNG for each map, the numbers as CSV, and index.html for all of it.

        Raises:
            BadFile: the folder is there already, and not `force`. NotInstalled: matplotlib is not.
        """
        album.write(self, folder, force=force)


def maps(
    model: nn.Module,
    images: Tensor | Sequence[Name],
    *,
    sites: Sequence[str] = (),
    classes: int | Sequence[int] | None = None,
    cam: bool = True,
    layer: str | None = None,
    size: tuple[int, int] | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> AttentionMaps:
    """What the attention in `model` decides on images, and what Grad-CAM says without and with it.

    Args:
        images: N x C x H x W as the model takes them; or paths of image files, and of folders with some.
        sites: globs over the paths of gates, or of modules that hold them; all gates if not given.
        classes: what Grad-CAM is for, one number for all images or one for each; what the model says if not given.
        cam: False leaves Grad-CAM out.
        layer: the module whose map Grad-CAM weighs; the one that returns the last map if not given.
        size, mean, std: how image files are resized and normalised; what is known of the model if not given.

    Raises:
        BadModel: there is no attention. UnknownName: a site or layer that is not there. BadInput: no images.
        NotInstalled: grad-cam or pillow is not there.

    >>> seen = surgeon.maps(model, images, cam=False)
    >>> seen.spatial["layer1.0.cbam"].shape
    torch.Size([2, 16, 16])
    """
    gates = attention_modules(model)
    if not gates:
        raise BadModel("there is no attention here to look at: surgeon.inject puts some in.")
    chosen = matching(gates, sites)
    pictures = _pictures(model, images, size, mean, std)
    recorded = _recorded(model, pictures.images)
    seen = _scored({path: recorded[path] for path in chosen}, pictures)
    return _with_cams(seen, model, pictures.images, classes, layer) if cam else seen


def _scored(recorded: Mapping[str, Recorded], pictures: Pictures) -> AttentionMaps:
    """The scores that there are, by their kind, and why there are none of the other gates."""
    scores: dict[str, dict[str, Tensor]] = {"spatial": {}, "channel": {}}
    silent = {}
    for path, noted in recorded.items():
        found = {kind: _per_image(noted, kind, pictures) for kind in scores}
        for kind, tensor in found.items():
            if tensor is not None:
                scores[kind][path] = tensor
        if not any(tensor is not None for tensor in found.values()):
            silent[path] = "it runs on windows" if noted else "it has no factors that could be shown"
    return AttentionMaps(pictures.names, pictures.pixels, scores["spatial"], scores["channel"], silent=silent)


def _pictures(
    model: nn.Module,
    images: Tensor | Sequence[Name],
    size: tuple[int, int] | None,
    mean: Numbers | None,
    std: Numbers | None,
) -> Pictures:
    if not isinstance(images, Tensor):
        paths = [images] if isinstance(images, (str, PathLike)) else [*images]
        if not paths:
            raise BadInput("no image is given.")
        pictures = read(paths, model, size=size, mean=mean, std=std)
        first = next(model.parameters())
        return Pictures(pictures.names, pictures.pixels, pictures.images.to(first.device, first.dtype))
    if images.dim() != 4 or not len(images) or images.shape[1] not in (1, 3):
        raise BadInput(f"images must be N x 3 x H x W or N x 1 x H x W, not {' x '.join(map(str, images.shape))}.")
    width = len(str(len(images)))
    names = tuple(f"image-{number:0{width}d}" for number in range(1, len(images) + 1))
    return Pictures(names, _shown(images.detach().float().cpu()), images)


def _shown(images: Tensor) -> Tensor:
    """Images that were normalised somehow, each from 0 to 1."""
    least, most = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (images - least) / (most - least).clamp(min=1e-12)


@torch.no_grad()
def _recorded(model: nn.Module, images: Tensor) -> dict[str, Recorded]:
    with in_mode(model, False), record(model) as recorded:
        model(images)
    return recorded


def _per_image(recorded: Recorded, name: str, pictures: Pictures) -> Tensor | None:
    """The scores of one gate, an entry for each image; None where it has none, or windows instead of images.

    A gate that is asked several times has its last answer shown.
    """
    if name not in recorded or recorded[name][-1].shape[0] != len(pictures.names):
        return None
    scores = recorded[name][-1].float()
    if name == "channel":
        return scores.flatten(1)
    return scores[:, 0] if scores.dim() == 4 else None


def _with_cams(
    seen: AttentionMaps, model: nn.Module, images: Tensor, classes: int | Sequence[int] | None, layer: str | None
) -> AttentionMaps:
    named = _classes(model, images, classes)
    with observed(model, Arguments((images[:1],), {})) as observation:
        at = layer_of(observation, layer)
    with disabled(model):
        off = grad_cam(model, at, images, named)
    cams = {"attention off": off, "attention on": grad_cam(model, at, images, named)}
    return replace(seen, cams=cams, classes=tuple(named), layer=at.path)


def _classes(model: nn.Module, images: Tensor, classes: int | Sequence[int] | None) -> list[int]:
    said = classes_of(model, images)
    if classes is None:
        return said
    named = [classes] * len(images) if isinstance(classes, int) else [*classes]
    if len(named) != len(images):
        raise BadOption(f"classes has {len(named)} numbers for {len(images)} images.")
    return named
