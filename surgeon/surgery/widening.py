"""Images with more channels: the first convolution widened, its weights for the old channels kept to the bit."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from surgeon import rulebook
from surgeon.anatomy.observation import Observation
from surgeon.anatomy.stem import first_convolutions
from surgeon.anatomy.watch import observed
from surgeon.attention import attention_modules
from surgeon.errors import BadModel, BadOption, SurgeonError, suggest
from surgeon.networks import channels as stems
from surgeon.outside.torch import parameter_table, tree_map_only
from surgeon.surgery import holders, saving, trial
from surgeon.surgery.alone import alone
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import note, noted
from surgeon.trace.recorder import observe
from surgeon.trace.state import preserved

Model = TypeVar("Model", bound=nn.Module)
# Beyond this, as a share of the output, zeros for new channels have changed what is made of the old ones.
ROUNDING = 1e-4


@torch.inference_mode(False)
def widen_input(model: Model, channels: int, *, init: str = "zeros", example_inputs: Any = None) -> Model:
    """Let `model` take images of `channels` channels, in place: red, green, blue first, and more behind them.

    The convolutions that read the image keep their weights for the old channels to the bit. Those for new channels are
    0: whatever (finite) values these have, the outputs are what they were until training moves the zeros, to the bit
    where torch runs the same kernel for both numbers of channels, and to the last bits where it chooses another.
    Widen first and put attention in afterwards where it goes to the input itself; elsewhere the order does not matter.
    `surgeon.save` keeps the number of channels in the file.

    Args:
        channels: of the image, all together; more than now.
        init: `zeros`, or `mean`: each new channel starts with the mean of the old ones' weights, and outputs change.
        example_inputs: what the model runs on now, with the old channels, as in `inject`.

    Raises:
        BadOption: not more channels than now, or another `init`.
        BadModel: the image is not read by plain convolutions, attention stands on it, an optimizer holds their weights.
        BadInput: the model does not run on the example input, or none could be guessed.

    >>> model = surgeon.widen_input(torchvision.models.resnet18(), channels=6)
    >>> model.conv1.weight.shape, model.conv1.weight[:, 3:].any()
    (torch.Size([64, 6, 7, 7]), tensor(False))
    """
    if init not in stems.INITS:
        raise BadOption(f"init can't be {init!r}. {suggest(init, stems.INITS)}")
    if type(channels) is not int or not 0 < channels <= stems.MOST:
        raise BadOption(f"channels can't be {channels!r}: it is the number of all channels of an image, such as 6.")
    with alone(model):
        # One that nobody uses any more may wait for the garbage collector.
        if holders.optimizers_of(model):
            gc.collect()
        optimizers = holders.optimizers_of(model)
        if example_inputs is None and isinstance(model, nn.Module):
            example_inputs = noted(model) or rulebook.example_for(model, rulebook.load())
        with observed(model, example_inputs) as observation:
            paths, wide = _tried_out(model, observation, channels)
        found = {path: model.get_submodule(path) for path in paths}
        _refuse_held(found, model, optimizers)
        weights = {path: _weight(path, convolution, channels, init) for path, convolution in found.items()}
        for path, weight in weights.items():
            stems.take(found[path], weight)
        _note(model, observation, wide)
    return model


def _tried_out(model: nn.Module, observation: Observation, channels: int) -> tuple[list[str], Arguments]:
    """(the paths of the first convolutions, the example with more channels), when the skeleton has run with both.

    Raises:
        BadModel, BadOption: in one line each.
    """
    scene, kind = observation.scene, type(model).__name__
    if scene.graph.path:
        part = f"model.{scene.graph.path}"
        raise BadModel(
            f"this {kind} prepares images itself, which surgeon can't see: widen {part}, and its preparation."
        )
    old = scene.maps.image.shape[1]
    if channels <= old:
        raise BadOption(f"this {kind} takes {old} channels: channels can't be {channels}, since none is taken away.")
    try:
        paths = [call.path for call in first_convolutions(scene)]
    except SurgeonError as error:
        raise BadModel(f"the input of this {kind} can't be widened: {error}") from None
    wide = _with_channels(observation.called, scene.maps.image.shape, channels)
    for path in paths:
        convolution = observation.model.get_submodule(path)
        _refuse_computed(path, convolution)
        stems.take(convolution, stems.widened(convolution.get_parameter("weight"), channels))
    with preserved(observation.model):
        again, failure = observe(observation.model, *wide, hooks=observation.hooks)
    if failure is not None:
        reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        raise BadModel(f"this {kind} would not run on {channels} channels: {reason}; nothing was changed.")
    if trial.kind(again.result) != trial.kind(scene.graph.result):
        raise BadModel(f"this {kind} would answer in other shapes on {channels} channels; nothing was changed.")
    return paths, wide


def _with_channels(called: Arguments, image: tuple[int, ...], channels: int) -> Arguments:
    """Arguments in which the image has `channels` channels, zeros behind those that it had."""
    left = [image]

    def widened(tensor: Tensor) -> Tensor:
        if tuple(tensor.shape) not in left:
            return tensor
        left.clear()
        return torch.cat([tensor, tensor.new_zeros((image[0], channels - image[1], *image[2:]))], 1)

    return Arguments(*tree_map_only(torch.Tensor, widened, tuple(called)))


def _refuse_computed(path: str, convolution: nn.Module) -> None:
    if "weight" not in parameter_table(convolution):
        raise BadModel(f"the weight of {path!r} is computed of others (a parametrization): take that off first.")


def _refuse_held(found: dict[str, nn.Module], model: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Refuse weights that something else holds, which would go on with the old ones."""
    names = {weight: f"{path}.weight" for path, module in found.items() for weight in [module.get_parameter("weight")]}
    for optimizer in optimizers:
        for weight in names.keys() & holders.weights_in(optimizer):
            kind = type(optimizer).__name__
            raise BadModel(
                f"this {kind} holds {names[weight]!r}, which is replaced: widen first, and make it afterwards."
            )
    for path, module in model.named_modules():
        shared = names.keys() & {weight for weight in parameter_table(module).values() if weight is not None}
        if shared and module not in found.values():
            raise BadModel(f"{path!r} shares the weight {names[shared.pop()]!r}, and would not take more channels.")


def _weight(path: str, convolution: nn.Module, channels: int, init: str) -> Tensor:
    """The new weight of a convolution.

    Raises:
        BadModel: with zeros for new channels it makes something else of the old ones.
    """
    weight = convolution.get_parameter("weight")
    if not weight.is_meta and not _makes_the_same(convolution, stems.widened(weight, channels)):
        kind = type(convolution).__name__
        why = f"this {kind} computes with the weights of all channels together, as where they are standardised"
        raise BadModel(f"{path!r} can't be widened: {why}, and more of them change what it makes of the old ones.")
    return stems.widened(weight, channels, init)


@torch.no_grad()
def _makes_the_same(convolution: Any, weight: Tensor) -> bool:
    """Whether a convolution with a wider weight makes of noise what it made before, its hooks left out."""
    old = copy.deepcopy(convolution).float()
    new = copy.deepcopy(convolution).float()
    stems.take(new, weight.float())
    reach = zip(old.kernel_size, old.dilation, old.stride)
    size = [dilation * (kernel - 1) + 1 + 2 * stride for kernel, dilation, stride in reach]
    image = torch.randn(2, weight.shape[1], *size, generator=torch.Generator().manual_seed(0)).to(weight.device)
    before = type(old).forward(old, image[:, : old.in_channels])
    difference = (before - type(new).forward(new, image)).abs().max()
    return bool(difference <= ROUNDING * before.abs().max())


def _note(model: nn.Module, observation: Observation, wide: Arguments) -> None:
    """Keep what the model runs on now, where it was noted or said; what can be guessed will be."""
    if observation.was_guessed:
        return
    note(model, wide)
    if attention_modules(model):
        saving.attach(model, wide)
