"""Grad-CAM (Selvaraju et al., ICCV 2017) by the package grad-cam, at the last map that the output depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from surgeon import rulebook
from surgeon.anatomy.liveness import is_unused
from surgeon.attention import Gate
from surgeon.attention.layouts import Layout
from surgeon.errors import BadInput, NoSite, UnknownName, suggest
from surgeon.pages.needs import needed
from surgeon.surgery.aim import targets
from surgeon.trace.state import in_mode

if TYPE_CHECKING:
    from torch import nn

    from surgeon.anatomy.observation import Observation
    from surgeon.anatomy.scene import Scene
    from surgeon.trace.graph import Graph


@dataclass(frozen=True)
class Layer:
    """The module whose output Grad-CAM weighs, and how that is laid out."""

    path: str
    layout: Layout

    def map(self, x: Tensor) -> Tensor:
        """What the module returns as a map of N x C x H x W, or N x C x T x H x W."""
        return self.layout.view(x)


def layer_of(observation: Observation, path: str | None = None) -> Layer:
    """The module that returns the last map; with a `path` that very module.

    Raises:
        UnknownName: there is no such module. NoSite: none returns a map alone.
    """
    scene = observation.scene
    graphs = [graph for graph in scene.graphs if _returns_a_map(graph, scene)]
    if path is None:
        chosen = _last(observation, graphs)
    else:
        chosen = next((graph for graph in graphs if graph.path == path), None)
        if chosen is None:
            raise UnknownName(
                f"no module {path!r} returns a map. {suggest(path, [graph.path for graph in graphs][:40])}"
            )
    if chosen is None:
        raise NoSite("no module returns the last map alone: name one for Grad-CAM, such as layer='layer4'.")
    found = scene.maps.known(chosen.outputs[0])
    return Layer(chosen.path, Layout(found.layout, found.size, found.prefix))


def _returns_a_map(graph: Graph, scene: Scene) -> bool:
    is_whole = graph.parent is not None and graph.finished and isinstance(graph.result, Tensor)
    found = scene.maps[graph.outputs[0]] if is_whole and graph.outputs else None
    return found is not None and found.pixels > 1 and len(found.size) >= 2 and not isinstance(graph.module, Gate)


def _last(observation: Observation, graphs: Sequence[Graph]) -> Graph | None:
    """The module that returns the final map; or, where only a class token is read behind it, the last map before."""
    scene = observation.scene
    final = targets(observation, "final", rulebook.load())[0].anchor
    at = [graph for graph in graphs if graph.outputs[0] is final.value]
    if at and not is_unused(final.value, scene):
        return at[0]
    alike = [graph for graph in graphs if scene.maps.known(graph.outputs[0]).channels == final.map.channels]
    read = [graph for graph in alike if not is_unused(graph.outputs[0], scene)]
    return max(read, key=lambda graph: graph.outputs[0].order, default=None)


def grad_cam(model: nn.Module, layer: Layer, images: Tensor, classes: Sequence[int]) -> Tensor:
    """What speaks for its class in each image, N x (T x) H x W from 0 to 1, as the package has it, to the bit.

    The model's mode and its gradients are as before afterwards.
    """
    library: Any = needed("pytorch_grad_cam")
    target: Any = needed("pytorch_grad_cam.utils.model_targets")
    # To torch.nn's own convolutions the library's plain way.
    reshape = None if layer.layout.name in ("NCHW", "NCDHW") else layer.map
    with _gradients_kept(model), in_mode(model, False), torch.enable_grad():
        # Where all weights are frozen, only gradients of the image lead through the network.
        given = images.detach().clone().requires_grad_()
        with library.GradCAM(model, [model.get_submodule(layer.path)], reshape_transform=reshape) as made:
            wanted = [target.ClassifierOutputTarget(number) for number in classes]
            return torch.from_numpy(made(input_tensor=given, targets=wanted))


@contextmanager
def _gradients_kept(model: nn.Module) -> Iterator[None]:
    before = [(weight, weight.grad) for weight in model.parameters()]
    for weight, _ in before:
        weight.grad = None
    try:
        yield
    finally:
        for weight, gradient in before:
            weight.grad = gradient


@torch.no_grad()
def scores_of(model: nn.Module, images: Tensor) -> Tensor:
    """The scores of each image by `model`, N x classes.

    Raises:
        BadInput: it does not take such images, or does not give one score for each class.
    """
    with in_mode(model, False):
        try:
            scores = model(images)
        except RuntimeError as error:
            shape = " x ".join(map(str, images.shape))
            told = str(error).strip().partition("\n")[0]
            raise BadInput(f"{type(model).__name__} does not run on images of {shape}: {told}") from None
    if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != len(images):
        kind = f"{tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise BadInput(
            f"Grad-CAM needs one score for each class, and {type(model).__name__} returns {kind}: cam=False."
        )
    return scores
