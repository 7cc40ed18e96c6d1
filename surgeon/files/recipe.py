"""What a file must say about itself so that its network can be built again without anyone's memory.

A recipe is JSON: the network that attention was put into, what was put where, and the SHA-256 of every
tensor. The rules that found the places are not needed to rebuild: sites are paths.
"""

import json
from dataclasses import dataclass, field, replace

import torch

from surgeon.attention import attention_modules, build
from surgeon.attention.costs import costed_sites
from surgeon.checkpoints import digest
from surgeon.errors import BadFile, BadModel
from surgeon.networks import identify, library
from surgeon.networks.settings import changed
from surgeon.sites import Plan
from surgeon.version import VERSION

# Raised when an old surgeon would misread the file, never for an addition that it can pass over.
FORMAT = 2


@dataclass(frozen=True)
class Recipe:
    """How to build a network again.

    base: the library network that attention was put into.
    operations: what was put where, in the order of operations.
    tensors: key -> SHA-256 of every tensor, attention included, in the network's order.
    attention: paths of the attention modules.
    order: keys of the base in the order of the checkpoint that it came from, where that was another.
    prefix: what stood in front of its keys there, such as `module.`.
    versions: of torch, torchvision, timm and surgeon, when it was made.
    settings: what was set inside the attention since: path -> {name: value}.
    """

    base: library.Base
    operations: tuple[Plan, ...]
    tensors: dict[str, str]
    attention: tuple[str, ...]
    order: tuple[str, ...] = ()
    prefix: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    def is_attention(self, key):
        """Whether the tensor `key` belongs to the attention and not to the base."""
        return key.startswith(tuple(f"{path}." for path in self.attention))

    @property
    def stock(self):
        """Key -> SHA-256 of the base's tensors, in the order in which they came."""
        return {key: self.tensors[key] for key in self.order or self.tensors if not self.is_attention(key)}

    @property
    def sha256(self):
        """One SHA-256 for all of the base's tensors, whatever their order."""
        return digest.of_all(dict(sorted(self.stock.items())))


def of(model, *, base=None, order=(), prefix="", known=None):
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
        fresh.turn = gate.turn
        found |= {f"{path}.{inner}".removesuffix("."): values for inner, values in changed(gate, fresh).items()}
    return found


def _named(model, base):
    # Known since the network was taken in: built by this name, or a program without any.
    return base if isinstance(base, library.Base) else identify.infer(model, base)


def versions():
    """What this process runs with."""
    return {"surgeon": VERSION, "torch": torch.__version__, **library.versions()}


def operations_of(model):
    """The plans that put the attention of `model` in, in that order: of one turn, gates made alike are one operation.

    Raises:
        BadModel: an attention without a name that another process could import.
    """
    groups, sites = {}, costed_sites(model)
    for path, gate in attention_modules(model).items():
        _refuse_nameless(path, gate)
        _refuse_objects(path, gate.made["options"])
        key = gate.turn, json.dumps([gate.made["attention"], gate.made["init"], gate.made["options"]])
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


def to_text(recipe):
    """The recipe as JSON text of one line; `from_text` reads it back."""
    return json.dumps({
        "format": FORMAT,
        "base": {"library": recipe.base.library, "name": recipe.base.name, "arguments": recipe.base.arguments, "settings": recipe.base.settings, "sha256": recipe.sha256},
        "operations": [plan.to_dict() for plan in recipe.operations],
        "attention": list(recipe.attention),
        "settings": recipe.settings,
        "versions": recipe.versions,
        "order": list(recipe.order),
        "prefix": recipe.prefix,
        "tensors": recipe.tensors,
    })


def from_text(text, what):
    """The recipe that `to_text` wrote.

    Args:
        what: the file that it comes from, for errors.

    Raises:
        BadFile: no recipe, or one of a newer format.
    """
    try:
        data = json.loads(text)
        number = data["format"]
        if isinstance(number, int) and number > FORMAT:
            raise BadFile(f"{what} has recipe format {number}; this surgeon ({VERSION}) reads up to {FORMAT}. Upgrade: pip install -U attention-surgeon")
        base = library.Base(data["base"]["library"], data["base"]["name"], dict(data["base"]["arguments"]), _settings(data["base"], number))
        tensors = _texts(data["tensors"])
        return Recipe(base, tuple(map(Plan.from_dict, data["operations"])), tensors, tuple(data["attention"]),
                      tuple(key for key in data["order"] if tensors[key]), str(data["prefix"]), _texts(data["versions"]), _settings(data, number))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFile(f"{what} holds no recipe that can be read: {type(error).__name__}: {error}.") from None


def _settings(data, number):
    """Path -> settings; format 1 had none."""
    found = data["settings"] if number > 1 else {}
    return {str(path): dict(values) for path, values in found.items()}


def _texts(table):
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in table.items()):
        raise TypeError("a table of texts is expected")
    return dict(table)
