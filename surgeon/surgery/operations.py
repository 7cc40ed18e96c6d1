"""What was done to a network, read off its gates: the plans that would do it again."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from surgeon import networks
from surgeon.attention import Gate, attention_modules, build
from surgeon.attention.costs import costed_sites
from surgeon.errors import BadModel
from surgeon.networks.settings import changed
from surgeon.sites import Plan, Site
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import dtype_of
from surgeon.version import VERSION


def operations_of(model: nn.Module) -> tuple[Plan, ...]:
    """The plans that put the attention of `model` in, in that order: gates of one operation, made alike, are one plan.

    Raises:
        BadModel: an attention without a name that another process could import.
    """
    sites = costed_sites(model)
    for path, gate in attention_modules(model).items():
        _refuse_objects(path, _origin(path, gate)["options"])
    return tuple(_plan(gates, sites) for gates in alike(attention_modules(model)))


def alike(all_gates: Mapping[str, Gate]) -> list[dict[str, Gate]]:
    """Those of the gates, by path, that surgeon made: those of one operation that were made alike together."""
    groups: dict[tuple[int, str], dict[str, Gate]] = {}
    for path, gate in all_gates.items():
        if gate.site is not None and gate.made is not None:
            made = [gate.made["attention"], gate.made["init"], gate.made["options"]]
            groups.setdefault((gate.operation, repr(made)), {})[path] = gate
    return [groups[key] for key in sorted(groups, key=_operation)]


def _operation(group: tuple[int, str]) -> int:
    return group[0]


def owned(site: Site, path: str) -> Site:
    """`site` by the path that its gate has: from the whole network, also where only a part of it was operated on."""
    return replace(site, module=path.rpartition(".")[0])


def _plan(gates: Mapping[str, Gate], sites: Mapping[str, Site]) -> Plan:
    path, first = next(iter(gates.items()))
    made = _origin(path, first)
    own = tuple(owned(sites[path], path) for path in gates)
    return Plan(made["attention"], own, dict(made["options"]), made["init"])


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


def settings_of(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What was set inside the attention since it was made; a file's words for it are those for the base."""
    settings = {}
    for path, gate in attention_modules(model).items():
        fresh = _built_again(_origin(path, gate))
        fresh.operation, fresh.together, fresh.maps = gate.operation, gate.together, gate.maps
        # What it has seen of maps is no setting.
        example = Arguments((_map(gate),), {})
        for inner, values in changed(gate, fresh, example=example).items():
            settings[f"{path}.{inner}".removesuffix(".")] = values
    return settings


def _map(gate: Gate) -> torch.Tensor:
    assert gate.site is not None, "`_origin` refuses gates without one"
    return torch.zeros(2, gate.site.channels, *gate.site.size, dtype=dtype_of(gate))


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
