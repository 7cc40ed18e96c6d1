"""The recipe of a network that is at hand, read off the network itself."""

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from surgeon import networks
from surgeon.attention import Gate, attention_modules, build, lost_attention
from surgeon.attention.costs import costed_sites
from surgeon.checkpoints import digest
from surgeon.errors import BadModel, LostAttention
from surgeon.files.recipe import Recipe
from surgeon.networks import identify
from surgeon.networks.blueprint import Base
from surgeon.networks.settings import changed
from surgeon.sites import Plan, Site
from surgeon.version import VERSION


def recipe_of(
    model: nn.Module,
    *,
    base: Base | str | None = None,
    order: Iterable[str] = (),
    prefix: str = "",
    known: Mapping[str, str] | None = None,
) -> Recipe:
    """The recipe of a network with attention, read off the network itself.

    Args:
        base: `torchvision:NAME`, `timm:NAME` or `package.module:function`; None where the network can be recognised;
            a Base where it is known since the network was taken in.
        order, prefix: as in Recipe, where it came from a checkpoint.
        known: SHA-256 of tensors that have been hashed already.

    Raises:
        BadModel: it is no library's network, or its attention has no name that another process could import.
    """
    lost = lost_attention(model)
    if lost:
        gone = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
        warnings.warn(f"attention that was put in is gone, and not in the file: {gone}.", LostAttention, stacklevel=4)
    return Recipe(
        base=base if isinstance(base, Base) else identify.infer(model, base),
        tensors=_hashes(_tensors(model), known or {}),
        operations=operations_of(model),
        attention=tuple(attention_modules(model)),
        order=tuple(order),
        prefix=prefix,
        versions=versions(),
        settings=_settings_of(model),
    )


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state dict; one with what a module's `get_extra_state` returns, which need be no tensor, is refused."""
    state = model.state_dict()
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise BadModel(f"{key!r} in the state dict is a {type(value).__name__}, and a file holds tensors only.")
    return state


def _hashes(tensors: Mapping[str, Tensor], known: Mapping[str, str]) -> dict[str, str]:
    """Key -> SHA-256, in the order of `tensors`; only what is not known is computed."""
    computed = digest.of_tensors({key: tensor for key, tensor in tensors.items() if key not in known})
    return {key: known[key] if key in known else computed[key] for key in tensors}


def _settings_of(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What was set inside the attention since it was made; a file's words for it are those for the base."""
    settings = {}
    for path, gate in attention_modules(model).items():
        fresh = _built_again(_origin(path, gate))
        fresh.operation, fresh.together = gate.operation, gate.together
        for inner, values in changed(gate, fresh).items():
            settings[f"{path}.{inner}".removesuffix(".")] = values
    return settings


def _built_again(origin: Mapping[str, Any]) -> Gate:
    with torch.random.fork_rng(devices=[]):
        return build(
            origin["attention"],
            origin["channels"],
            init=origin["init"],
            dims=origin["dims"],
            instead=origin["instead"],
            **origin["options"],
        )


def versions() -> dict[str, str]:
    """What this process runs with."""
    return {"surgeon": VERSION, "torch": torch.__version__, **networks.versions()}


def operations_of(model: nn.Module) -> tuple[Plan, ...]:
    """The plans that put the attention of `model` in, in that order: gates of one operation, made alike, are one plan.

    Raises:
        BadModel: an attention without a name that another process could import.
    """
    groups: dict[tuple[int, str], list[Site]] = {}
    sites = costed_sites(model)
    for path, gate in attention_modules(model).items():
        origin = _origin(path, gate)
        _refuse_objects(path, origin["options"])
        alike = gate.operation, json.dumps([origin["attention"], origin["init"], origin["options"]])
        # Paths count from the whole network, also where only a part of it was operated on: a detector's backbone.
        groups.setdefault(alike, []).append(replace(sites[path], module=path.rpartition(".")[0]))
    return tuple(_plan(text, groups[number, text]) for number, text in sorted(groups, key=_operation))


def _operation(group: tuple[int, str]) -> int:
    return group[0]


def _plan(text: str, sites: Iterable[Site]) -> Plan:
    attention, init, options = json.loads(text)
    return Plan(attention, tuple(sites), options, init)


def _origin(path: str, gate: Gate) -> Mapping[str, Any]:
    """What surgeon made a gate from: attention, channels, dims, init, options.

    Raises:
        BadModel: surgeon did not make it, or what made it has no name.
    """
    kind = type(getattr(gate, "inner", gate)).__name__
    if gate.site is None or not gate.made:
        raise BadModel(
            f"{path} can't be named in a file: this {kind} was not put there by surgeon. "
            "Leave it out, and surgeon.inject it."
        )
    if gate.made["attention"] is None:
        raise BadModel(
            f"{path} can't be named in a file: what made this {kind} has no import path (a lambda, a local class, "
            'or one of the script that runs). Inject it under a name: surgeon.register("mine", factory) and then '
            '"mine", or a class at the top level of a module, "package.module:Class".'
        )
    return gate.made


def _refuse_objects(path: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a file can't hold: classes, tensors, whatever JSON has no words for."""
    for name, value in options.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            kind = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
            raise BadModel(
                f"{path} can't be saved: its option {name!r} is {kind}, and a file holds numbers and texts only. "
                'Inject it under a name that makes it so: surgeon.register("mine", factory) and then "mine".'
            ) from None
