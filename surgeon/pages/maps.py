"""What the attention of a network decides on images: scores of positions and channels, and Grad-CAM beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from surgeon.attention import attention_modules, record
from surgeon.attention.gates import matching
from surgeon.errors import BadInput, BadModel, BadOption
from surgeon.pages import album
from surgeon.pages.looks import ON, Look, looks
from surgeon.pages.pictures import Name, Numbers, Pictures, read
from surgeon.pages.seen import Seen
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
    beside: Mapping[str, nn.Module] | None = None,
    name: str = "",
    size: tuple[int, int] | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> AttentionMaps:
    """What the attention in `model` decides on images, and what Grad-CAM says without and with it.

    Args:
        images: N x C x H x W as the model takes them, clips as N x C x T x H x W; or paths of image files, and of
            folders with some. For a network that takes clips, each folder is one, of its images in order.
        sites: globs over the paths of gates, or of modules that hold them; all gates if not given.
        classes: what Grad-CAM is for, one number for all images or one for each; what the model says if not given.
        cam: False leaves Grad-CAM out.
        layer: the module whose map Grad-CAM weighs; the one that returns the last map if not given.
        beside: other networks by name, with attention or without, for Grad-CAM of the same images and classes.
        name: what this network is called beside others.
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
    if beside and not cam:
        raise BadOption("networks beside are there for Grad-CAM: leave them out, or cam=False.")
    chosen = matching(gates, sites)
    pictures = _pictures(model, images, size, mean, std)
    recorded = _recorded(model, pictures.images)
    seen = _scored({path: recorded[path] for path in chosen}, pictures)
    if not cam:
        return seen
    seen = replace(seen, beside=tuple(beside or ()), network=name)
    return _with_cams(seen, *looks(model, pictures.images, classes, layer=layer, beside=beside))


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
    if images.dim() not in (4, 5) or not len(images) or images.shape[1] not in (1, 3):
        raise BadInput(
            "images must be N x 3 x H x W or N x 1 x H x W, or clips of N x 3 x T x H x W, "
            f"not {' x '.join(map(str, images.shape))}."
        )
    width = len(str(len(images)))
    kind = "image" if images.dim() == 4 else "clip"
    names = tuple(f"{kind}-{number:0{width}d}" for number in range(1, len(images) + 1))
    return Pictures(names, _shown(images.detach().float().cpu()), images)


def _shown(images: Tensor) -> Tensor:
    """Images that were normalised somehow, each from 0 to 1."""
    all_but_first = tuple(range(1, images.dim()))
    least, most = images.amin(all_but_first, keepdim=True), images.amax(all_but_first, keepdim=True)
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
    return scores[:, 0] if scores.dim() == pictures.pixels.dim() else None


def _with_cams(seen: AttentionMaps, found: Mapping[str, Look], classes: tuple[int, ...]) -> AttentionMaps:
    return replace(
        seen,
        cams={name: look.cam for name, look in found.items()},
        sure={name: look.sure for name, look in found.items()},
        layers={name: look.layer for name, look in found.items()},
        layer=found[ON].layer,
        classes=classes,
    )
