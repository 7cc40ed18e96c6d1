"""Where networks look: Grad-CAM of one without and with its attention, and of others beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from surgeon.anatomy.watch import observed
from surgeon.attention import disabled
from surgeon.errors import BadInput, BadOption, SurgeonError
from surgeon.pages.cam import Layer, grad_cam, layer_of, scores_of
from surgeon.trace.inputs import Arguments

if TYPE_CHECKING:
    from torch import nn

OFF, ON = "attention off", "attention on"


@dataclass(frozen=True)
class Look:
    """What Grad-CAM says of N images.

    cam: N x (T x) H x W from 0 to 1. sure: N, the share that softmax gives the class. layer: whose map was weighed.
    """

    cam: Tensor
    sure: Tensor
    layer: str


def looks(
    model: nn.Module,
    images: Tensor,
    classes: int | Sequence[int] | None,
    *,
    layer: str | None = None,
    beside: Mapping[str, nn.Module] | None = None,
) -> tuple[dict[str, Look], tuple[int, ...]]:
    """(looks by the name of the network, the class of each image); the classes are what `model` says, if not given.

    Raises:
        BadInput: a network gives no scores, or tells another number of classes apart.
    """
    scores = scores_of(model, images)
    named = _named(scores, classes)
    found = {
        name: _beside(name, other, images, named, layer, scores.shape[1]) for name, other in (beside or {}).items()
    }
    at = _layer(model, images, layer)
    with disabled(model):
        found[OFF] = _look(model, images, named, at)
    return found | {ON: _look(model, images, named, at)}, tuple(named)


def _named(scores: Tensor, classes: int | Sequence[int] | None) -> list[int]:
    if classes is None:
        return [int(number) for number in scores.argmax(1)]
    named = [classes] * len(scores) if isinstance(classes, int) else [*classes]
    if len(named) != len(scores):
        raise BadOption(f"classes has {len(named)} numbers for {len(scores)} images.")
    unknown = [number for number in named if not 0 <= number < scores.shape[1]]
    if unknown:
        raise BadOption(f"there is no class {unknown[0]}: the network tells {scores.shape[1]} apart, the first is 0.")
    return named


def _beside(name: str, model: nn.Module, images: Tensor, classes: Sequence[int], layer: str | None, count: int) -> Look:
    """Another network's look; what is wrong with it is said with its name."""
    try:
        first = next(model.parameters())
        own = images.to(first.device, first.dtype)
        told = scores_of(model, own).shape[1]
        if told != count:
            raise BadInput(f"it tells {told} classes apart, and the network that it is to stand beside {count}.")
        return _look(model, own, classes, _layer(model, own, layer))
    except SurgeonError as error:
        raise type(error)(f"{name}: {error}") from None


def _layer(model: nn.Module, images: Tensor, layer: str | None) -> Layer:
    with observed(model, Arguments((images[:1],), {})) as observation:
        return layer_of(observation, layer)


def _look(model: nn.Module, images: Tensor, classes: Sequence[int], at: Layer) -> Look:
    sure = scores_of(model, images).float().softmax(1).cpu()
    return Look(grad_cam(model, at, images, classes), sure[torch.arange(len(sure)), [*classes]], at.path)
