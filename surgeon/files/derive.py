"""The recipe of a network that is at hand, read off the network itself."""

import json
from dataclasses import replace

import torch

from surgeon import networks
from surgeon.attention import attention_modules, build
from surgeon.attention.costs import costed_sites
from surgeon.checkpoints import digest
from surgeon.errors import BadModel
from surgeon.files.recipe import Recipe
from surgeon.networks import identify
from surgeon.networks.blueprint import Base
from surgeon.networks.settings import changed
from surgeon.sites import Plan
from surgeon.version import VERSION


def recipe_of(model, *, base=None, order=(), prefix="", known=None):
    """The recipe of a network with attention, read off the network itself.

    Args:
        base: `torchvision:NAME`, `timm:NAME` or `package.module:function`; None where the network can be recognised.
        order, prefix: as in Recipe, where it came from a checkpoint.
        known: SHA-256 of tensors that have been hashed already.

    Raises:
        BadModel: it is no library's network, or its attention has no name that another process could import.
    """
    named = _named(model, base)
    known, weights = known or {}, _tensors(model)
    fresh = digest.of_tensors({key: weights[key] for key in weights if key not in known})
    tensors = {key: known[key] if key in known else fresh[key] for key in weights}
    return Recipe(named, operations_of(model), tensors, tuple(attention_modules(model)), tuple(order), prefix, versions(), _settings_of(model))


def _tensors(model):
    """The state dict, which may hold what a module's `get_extra_state` says."""
    found = model.state_dict()
    strange = next((key for key, value in found.items() if not isinstance(value, torch.Tensor)), None)
    if strange is not None:
        raise BadModel(f"{strange!r} in the state dict is a {type(found[strange]).__name__}, and a file holds tensors only.")
    return found


def _settings_of(model):
    """What was set inside the attention since it was made; a file's words for it are those for the base."""
    found = {}
    for path, gate in attention_modules(model).items():
        made = dict(gate.made)
        with torch.random.fork_rng(devices=[]):
            fresh = build(made["attention"], made["channels"], init=made["init"], dims=made["dims"], **made["options"])
        fresh.operation = gate.operation
        found |= {f"{path}.{inner}".removesuffix("."): values for inner, values in changed(gate, fresh).items()}
    return found


def _named(model, base):
    # Known since the network was taken in: built by this name, or a program without any.
    return base if isinstance(base, Base) else identify.infer(model, base)


def versions():
    """What this process runs with."""
    return {"surgeon": VERSION, "torch": torch.__version__, **networks.versions()}


def operations_of(model):
    """The plans that put the attention of `model` in, in that order: gates of one operation, made alike, are one plan.

    Raises:
        BadModel: an attention without a name that another process could import.
    """
    groups, sites = {}, costed_sites(model)
    for path, gate in attention_modules(model).items():
        _refuse_nameless(path, gate)
        _refuse_objects(path, gate.made["options"])
        key = gate.operation, json.dumps([gate.made["attention"], gate.made["init"], gate.made["options"]])
        # Of the whole network, also where only a part of it was operated on, such as a detector's backbone.
        groups.setdefault(key, []).append(replace(sites[path], module=path.rpartition(".")[0]))
    told = [(json.loads(text), sites) for (_, text), sites in sorted(groups.items(), key=lambda group: group[0][0])]
    return tuple(Plan(name, tuple(sites), options, init) for (name, init, options), sites in told)


def _refuse_nameless(path, gate):
    made_from = type(getattr(gate, "inner", gate)).__name__
    if gate.site is None or not gate.made:
        raise BadModel(f"{path} can't be named in a file: this {made_from} was not put there by surgeon. Leave it out, and surgeon.inject it.")
    if gate.made["attention"] is None:
        raise BadModel(f"{path} can't be named in a file: what made this {made_from} has no import path (a lambda, a local class, or one of the script that "
                       'runs). Inject it under a name: surgeon.register("mine", factory) and then "mine", or a class at the top level of a module, '
                       '"package.module:Class".')


def _refuse_objects(path, options):
    """Options that a file can't hold: classes, tensors, whatever JSON has no words for."""
    for name, value in options.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            kind = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
            raise BadModel(f"{path} can't be saved: its option {name!r} is {kind}, and a file holds numbers and texts only. Inject it under a name that "
                           'makes it so: surgeon.register("mine", factory) and then "mine".') from None
