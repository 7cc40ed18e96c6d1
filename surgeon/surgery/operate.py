"""Doing what a plan says: prepare everything, cut, check, and take all back if anything is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from surgeon import attention as modules
from surgeon.attention.gate import EXACT
from surgeon.attention.layouts import Layout
from surgeon.errors import BadModel, BadOption, BadPlan, CheckFailed, suggest
from surgeon.outside.torch import tree_map, tree_map_only
from surgeon.surgery import check, splice, trial
from surgeon.surgery.decide import fingerprint
from surgeon.trace.inputs import Arguments
from surgeon.trace.outputs import max_abs_diff, outputs, same_bits

if TYPE_CHECKING:
    from surgeon.anatomy.observation import Observation
    from surgeon.sites import Plan, Site
    from surgeon.surgery.splice import Stitch
    from surgeon.trace.graph import Graph

CHECKS = ("stitches", "output")

Check = Literal["stitches", "output"]
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Prepared:
    """All that an operation needs of the look at the model.

    stitches: what will be done to each module. graph: the run of the trunk.
    example: the user's own arguments, None where they were guessed.
    """

    stitches: list[Stitch]
    graph: Graph
    example: Arguments | None


def check_choice(value: str) -> None:
    """Refuse a check that does not exist."""
    if value not in CHECKS:
        raise BadOption(f"check can't be {value!r}. {suggest(value, CHECKS)}")


def prepare(model: nn.Module, plan: Plan, observation: Observation) -> Prepared:
    """The stitches of a plan, tried out on the skeleton, and the example to check them with.

    Raises:
        CheckFailed: the network would not run, or answer in other shapes.
    """
    if not len(plan):
        raise BadPlan("this plan has no sites.")
    if plan.fingerprint and plan.fingerprint != fingerprint(observation.model):
        kind = type(model).__name__
        raise BadPlan(f"this plan was made for a network with other weights than this {kind}: plan again.")
    name = modules.name_of(plan.factory or plan.attention)
    stitches = splice.stitches(model, plan.sites, name, observation)
    trial.try_out(observation, stitches)
    return Prepared(stitches, observation.scene.graph, observation.example)


@torch.inference_mode(False)
def perform(model: Model, plan: Plan, prepared: Prepared, wanted: Check) -> Model:
    """Apply the prepared stitches to `model` and check what must not have changed; returns the model."""
    graph, example = prepared.graph, prepared.example
    operation = 1 + max((gate.operation for gate in modules.attention_modules(model).values()), default=0)
    gates = {site: _gate(model, site, plan, operation) for site in plan.sites}
    together = tuple(path for stitch in prepared.stitches for path in stitch.paths)
    for gate in gates.values():
        gate.together = together
    before = check.snapshot(model)
    trunk = model.get_submodule(graph.path)
    old = outputs(trunk, *_real(model, graph, example)) if wanted == "output" else None
    undo = splice.put_in(prepared.stitches, gates)
    try:
        check.same_as_before(model, before)
        splice.count_stitches(model, gates)
        if old is not None and plan.init in EXACT:
            _same_output(old, outputs(trunk, *_real(model, graph, example)))
    except BaseException:
        splice.take_back(undo)
        raise
    return model


def _same_output(old: Sequence[Tensor], new: Sequence[Tensor]) -> None:
    if not same_bits(old, new):
        difference = f"the output differs from the original's by up to {max_abs_diff(old, new):.3g}"
        raise CheckFailed(f"{difference}; the model is as it was.")


def _gate(model: nn.Module, site: Site, plan: Plan, operation: int) -> modules.Gate:
    """The gate for one site, made to match the weights around it."""
    owner = model.get_submodule(site.module)
    weight = next(_floats(owner), None)
    if weight is None:
        weight = next(_floats(model), torch.empty(0))
    attention, dims = plan.factory or plan.attention, len(site.size)
    with torch.device(weight.device):
        gate = modules.build(attention, site.channels, init=plan.init, dims=dims, instead=site.replaces, **plan.options)
    gate.to(weight.dtype)
    if _is_channels_last(owner, model):
        gate.to(memory_format=torch.channels_last)
    gate.layout = None if site.layout == "NCHW" else Layout(site.layout, site.size, site.prefix)
    gate.site, gate.operation = site, operation
    return gate.train(owner.training)


def _is_channels_last(owner: nn.Module, model: nn.Module) -> bool:
    """Whether the nearest kernel is stored channels last.

    Kernels of depthwise and of 1 x 1 convolutions are contiguous in either order: they can't tell.
    """
    for kernel in chain(_floats(owner), _floats(model)):
        if kernel.dim() == 4:
            is_last = kernel.is_contiguous(memory_format=torch.channels_last)
            if is_last != kernel.is_contiguous(memory_format=torch.contiguous_format):
                return is_last
    return False


def _floats(module: nn.Module) -> Iterator[Tensor]:
    return (tensor for tensor in chain(module.parameters(), module.buffers()) if tensor.is_floating_point())


def _real(model: nn.Module, graph: Graph, example: Arguments | None) -> Arguments:
    """Arguments with numbers in them for a run of the trunk: the user's own example, or noise of that shape."""
    weight = next(_floats(model), torch.empty(0))
    if weight.device.type == "meta":
        raise BadModel("check='output' needs weights, and this model is on meta.")
    if example is not None:
        # A network may change its input in place.
        return Arguments(*tree_map_only(torch.Tensor, torch.clone, tuple(example)))
    generator = torch.Generator().manual_seed(0)

    def noise(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return torch.randn(leaf.shape, generator=generator).to(weight.device, leaf.dtype)

    return Arguments(tree_map(noise, graph.args), tree_map(noise, graph.kwargs))


def remove(model: nn.Module) -> int:
    """All gates out of `model`; its modules are what they were. Returns how many there were."""
    return splice.remove(model)
