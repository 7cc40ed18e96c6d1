"""One gate as deployment wants it: norms inside the layers in front of them, slopes inside the last layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from surgeon.attention import foldable
from surgeon.attention.bam import BAM
from surgeon.attention.building import build
from surgeon.attention.cbam import CBAM
from surgeon.attention.eca import ECA
from surgeon.attention.foreign import Foreign
from surgeon.attention.gate import Gate, Made
from surgeon.attention.parts import Part, norms_of, parts_of
from surgeon.attention.se import SE
from surgeon.errors import BadModel

# Weights by key, in float64.
State = dict[str, Tensor]
OWN = (BAM, CBAM, ECA, SE)


class Form(NamedTuple):
    """What `build` makes a folded gate from, beside what its origin had."""

    init: str
    options: dict[str, Any]


# What is copied under a caller's inference mode could not be run outside of it.
@torch.inference_mode(False)
@torch.no_grad()
def folded(gate: Gate) -> Gate | None:
    """A gate that computes what `gate` does in evaluation mode, to rounding, by fewer steps.

    Returns: a new gate; `gate` itself where there is nothing to fold, or nobody knows what it is made of; None where
        it lets everything pass as it is.

    Raises:
        BadModel: it is not what surgeon built any more, or its weights are elsewhere.
    """
    if gate.made is None or type(gate) not in (*OWN, Foreign):
        return gate
    if any(tensor.is_meta or type(tensor) not in (Tensor, nn.Parameter) for tensor in _tensors(gate)):
        raise BadModel("its weights are elsewhere (on meta, sharded, quantized): fold it where they are plain tensors.")
    if not gate.enabled or _is(gate.share, 0):
        return None
    if isinstance(gate, Foreign):
        return _foreign(gate)
    foldable.refuse_changes(gate, _built(gate.made))
    return _own(gate)


def _tensors(gate: Gate) -> Iterator[Tensor]:
    yield from gate.parameters()
    yield from gate.buffers()


def _is(number: Tensor | None, value: float) -> bool:
    return number is not None and bool((number == value).all())


def _foreign(gate: Foreign) -> Gate | None:
    """The module of somebody else stays as it is, without a gamma or a share that says nothing."""
    if _is(gate.gamma, 0):
        return None
    if not _is(gate.gamma, 1) and not _is(gate.share, 1):
        return gate
    foldable.refuse_hooks(gate, "")
    twin = Foreign(gate.inner, gate.channels, init="paper", dims=gate.dims)
    return _in_place_of(gate, twin, Form("paper", _made(gate)["options"]))


def _made(gate: Gate) -> Made:
    assert gate.made is not None, "`folded` passes by gates without their origin"
    return gate.made


def _own(gate: Gate) -> Gate | None:
    """A gate of surgeon's own, folded."""
    made, state = _made(gate), _state(gate)
    for layer, norm in norms_of(gate).items():
        _fold_norm(state, layer, norm, gate.get_submodule(norm))
    parts = parts_of(gate)
    for part in parts:
        _fold_slope(state, part)
    acting = [part for part in parts if not _lets_pass(state, part)]
    if not acting:
        return None
    form = _form(gate, state, parts, acting)
    if form == Form(made["init"], made["options"]):
        return gate
    precise = _built(made, form)
    precise.load_state_dict(state, assign=True)
    foldable.refuse_difference(gate, precise.eval())
    twin = _built(made, form)
    twin.load_state_dict(dict(_cast(state, gate)), assign=True)
    return _in_place_of(gate, twin, form)


def _state(gate: Gate) -> State:
    """The weights in float64, on the CPU: not every device has that."""
    state = gate.state_dict()
    return {key: value.detach().cpu().double() for key, value in state.items() if value.is_floating_point()}


def _fold_norm(state: State, layer: str, norm: str, module: nn.Module) -> None:
    """The norm of running statistics after `layer`, as the layer's own weights and bias."""
    scale = state.pop(f"{norm}.weight", torch.ones(())) / (state.pop(f"{norm}.running_var") + _eps(module)).sqrt()
    shift = state.pop(f"{norm}.bias", torch.zeros(())) - state.pop(f"{norm}.running_mean") * scale
    weight, bias = state[f"{layer}.weight"], state.get(f"{layer}.bias", torch.zeros(()))
    state[f"{layer}.weight"] = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    state[f"{layer}.bias"] = bias * scale + shift


def _eps(norm: nn.Module) -> float:
    eps: Any = norm.eps
    return float(eps)


def _fold_slope(state: State, part: Part) -> None:
    """What the scores of a part are multiplied by, in the layers that they come from."""
    slope = state.pop(f"{part.prefix}slope", None)
    if slope is None:
        return
    for layer in part.steep:
        for key in _keys(state, layer):
            state[key] = state[key] * slope


def _keys(state: State, layer: str) -> list[str]:
    return [key for key in (f"{layer}.weight", f"{layer}.bias") if key in state]


def _lets_pass(state: State, part: Part) -> bool:
    """Whether the factors of a part are 1 whatever the map: `1 + 0 * ...`, or `2 * sigmoid(0)`."""
    if _is(state.get(f"{part.prefix}gamma"), 0):
        return True
    silent = [not any(state[key].any() for key in _keys(state, layer)) for layer in part.last]
    return _is(state.get(f"{part.prefix}gain"), 2) and part.silent(silent)


def _form(gate: Gate, state: State, parts: list[Part], acting: list[Part]) -> Form:
    """What the folded gate is built from; numbers of `state` that it has no place for are taken out."""
    made = _made(gate)
    options = dict(made["options"]) | _without_norms(gate)
    for part in parts:
        if part not in acting:
            options["branches"] = next(other.prefix.rstrip(".") for other in acting)
            for key in [key for key in state if key.startswith(part.prefix)]:
                del state[key]
    if made["instead"]:
        is_whole = _is(state.get("share"), 1)
        if is_whole:
            del state["share"]
        return Form("paper" if is_whole else made["init"], options)
    numbers = [f"{part.prefix}{name}" for part in acting for name in ("gamma", "gain")]
    there = [key for key in numbers if key in state]
    if there and all(_is(state[key], 1) for key in there):
        for key in there:
            del state[key]
        return Form("paper", options)
    return Form("neutral" if made["init"] == "eager" else made["init"], options)


def _without_norms(gate: Gate) -> dict[str, Any]:
    if not norms_of(gate):
        return {}
    return {"norm": False} | ({"conv_bias": True} if isinstance(gate, CBAM) else {})


def _cast(state: State, gate: Gate) -> Iterator[tuple[str, Tensor]]:
    """The weights as those of `gate` are: their dtype and their device."""
    before = gate.state_dict()
    for key, value in state.items():
        like = before.get(key, before.get(f"{key.rpartition('.')[0]}.weight"))
        assert like is not None, "folding adds nothing but biases"
        yield key, value.to(like.device, like.dtype)


def _built(made: Made, form: Form | None = None) -> Gate:
    """A gate on meta, from its origin, or from that and a new form."""
    origin: Callable[..., Gate] = build
    init, options = form or Form(made["init"], made["options"])
    with torch.device("meta"):
        return origin(
            made["attention"], made["channels"], init=init, dims=made["dims"], instead=made["instead"], **options
        )


def _in_place_of(gate: Gate, twin: Gate, form: Form) -> Gate:
    """`twin` with all that `gate` is beside its layers."""
    made = _made(gate)
    twin.made = {**made, "init": form.init, "options": form.options}
    twin.site = gate.site and replace(gate.site, parameters=None, macs=None)
    for name in ("layout", "maps", "told", "passes", "operation", "together"):
        setattr(twin, name, getattr(gate, name))
    # Somebody else's module trains as before.
    twin.folded = not isinstance(gate, Foreign)
    return twin.eval()
