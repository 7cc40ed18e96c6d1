"""Doing what a plan says: prepare everything, cut, check, and take all back if anything is wrong."""

import torch
from torch import nn
from torch.utils._pytree import tree_map, tree_map_only

from surgeon import attention as modules
from surgeon.attention.layouts import Layout
from surgeon.errors import BadModel, BadOption, BadPlan, CheckFailed, suggest
from surgeon.surgery import check, splice, trial
from surgeon.surgery.decide import fingerprint
from surgeon.trace.outputs import max_abs_diff, outputs, same_bits

CHECKS = ("stitches", "output")


def check_choice(value):
    """Refuse a check that does not exist."""
    if value not in CHECKS:
        raise BadOption(f"check can't be {value!r}. {suggest(value, CHECKS)}")


def prepare(model, plan, seen):
    """The stitches of a plan, tried out on the skeleton, and the example to check them with; while the model is being looked at.

    Raises:
        CheckFailed: the network would not run, or answer in other shapes.
    """
    if not len(plan):
        raise BadPlan("this plan has no sites.")
    if plan.fingerprint and plan.fingerprint != fingerprint(seen.model):
        raise BadPlan(f"this plan was made for a network with other weights than this {type(model).__name__}: plan again.")
    name = modules.name_of(plan.factory or plan.attention)
    stitches = splice.stitches(model, plan.sites, name, seen.rewrites_of)
    trial.try_out(seen, stitches)
    return stitches, (seen.scene.graph, seen.example)


@torch.inference_mode(False)
def perform(model, plan, prepared, wanted):
    """Apply the prepared stitches to `model` and check what must not have changed; returns the model."""
    stitches, (graph, example) = prepared
    turn = 1 + max((gate.turn for gate in modules.attention_modules(model).values()), default=0)
    gates = {site: _gate(model, site, plan, turn) for site in plan.sites}
    before = check.photograph(model)
    trunk = model.get_submodule(graph.path)
    old = outputs(trunk, *_real(model, graph, example)) if wanted == "output" else None
    undo = splice.put_in(stitches, gates)
    try:
        check.same_as_before(model, before)
        splice.count_stitches(model, gates)
        if wanted == "output" and plan.init == "identity":
            _same_output(old, outputs(trunk, *_real(model, graph, example)))
    except BaseException:
        splice.take_back(undo)
        raise
    return model


def _same_output(old, new):
    if not same_bits(old, new):
        raise CheckFailed(f"the output differs from the original's by up to {max_abs_diff(old, new):.3g}; the model is as it was.")


def _gate(model, site, plan, turn):
    """The gate for one site, made to match the weights around it."""
    owner = model.get_submodule(site.module)
    weight = next(_floats(owner), None)
    if weight is None:
        weight = next(_floats(model), torch.empty(0))
    with torch.device(weight.device):
        gate = modules.build(plan.factory or plan.attention, site.channels, init=plan.init, dims=len(site.size), **plan.options)
    gate.to(weight.dtype)
    if _is_channels_last(owner, model):
        gate.to(memory_format=torch.channels_last)
    gate.layout = None if site.layout == "NCHW" else Layout(site.layout, site.size, site.prefix)
    gate.site, gate.turn = site, turn
    return gate.train(owner.training)


def _is_channels_last(owner, model):
    """Whether the nearest kernel that tells lies so; those of depthwise and of 1 x 1 convolutions lie both ways."""
    formats = (torch.contiguous_format, torch.channels_last)
    lies = ([w.is_contiguous(memory_format=f) for f in formats] for module in (owner, model) for w in _floats(module) if w.dim() == 4)
    return next((last for first, last in lies if first != last), False)


def _floats(module):
    return (tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point())


def _real(model, graph, example):
    """Arguments with numbers in them for a run of the trunk: the user's own example, or noise of that shape."""
    weight = next(_floats(model), torch.empty(0))
    if weight.device.type == "meta":
        raise BadModel("check='output' needs weights, and this model is on meta.")
    if example is not None:
        # A network may change its input in place.
        return tree_map_only(torch.Tensor, torch.clone, example)
    generator = torch.Generator().manual_seed(0)

    def noise(leaf):
        return torch.randn(leaf.shape, generator=generator).to(weight.device, leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf

    return tree_map(noise, graph.args), tree_map(noise, graph.kwargs)


def remove(model: nn.Module):
    """All gates out of `model`; its modules are what they were."""
    return splice.remove(model)
