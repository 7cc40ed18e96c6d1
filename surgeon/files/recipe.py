"""What a file must say about itself so that its network can be built again without anyone's memory.

A recipe is JSON: the network that attention was put into, what was put where, and the SHA-256 of every
tensor. The rules that found the places are not needed to rebuild: sites are paths.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from surgeon.checkpoints import digest
from surgeon.errors import BadFile, BadOption
from surgeon.networks.blueprint import Base
from surgeon.sites import Plan
from surgeon.trace import examples
from surgeon.trace.examples import Form
from surgeon.version import VERSION

# Raised when an old surgeon would misread the file, never for an addition that it can ignore.
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
    example: what the network is called with, where surgeon could not guess it or was told.
    opened: path of each attention module -> how far it had opened when it was saved; None where that could not be told.
    parameters: how many the network has, attention left out; None in files from before they were counted.
    """

    base: Base
    operations: tuple[Plan, ...]
    tensors: dict[str, str]
    attention: tuple[str, ...]
    order: tuple[str, ...] = ()
    prefix: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    example: Form | None = None
    opened: dict[str, float | None] = field(default_factory=dict)
    parameters: int | None = None

    def is_attention(self, key: str) -> bool:
        """Whether the tensor `key` belongs to the attention and not to the base."""
        return key.startswith(tuple(f"{path}." for path in self.attention))

    @property
    def stock(self) -> dict[str, str]:
        """Key -> SHA-256 of the base's tensors, in the order in which they came."""
        return {key: self.tensors[key] for key in self.order or self.tensors if not self.is_attention(key)}

    @property
    def sha256(self) -> str:
        """One SHA-256 for all of the base's tensors, whatever their order."""
        return digest.of_all(dict(sorted(self.stock.items())))


def verified(text: object, sha256: object, what: str) -> Recipe:
    """The recipe that a file carries, unharmed.

    Args:
        text, sha256: as they lie in the file; text is None where there is none. what: the file, for errors.

    Raises:
        BadFile: it carries none, or one that was altered.
    """
    if text is None:
        raise BadFile(
            f"{what} carries no recipe: it was not written by surgeon. surgeon inject reads it, "
            "with --arch torchvision:NAME or timm:NAME."
        )
    if not isinstance(text, str) or digest.of_text(text) != sha256:
        raise BadFile(f"{what}: its recipe is not the one that was saved. The file is damaged: get it again.")
    return from_text(text, what)


def to_text(recipe: Recipe) -> str:
    """The recipe as JSON text of one line; `from_text` reads it back."""
    base = {
        "library": recipe.base.library,
        "name": recipe.base.name,
        "arguments": recipe.base.arguments,
        "settings": recipe.base.settings,
        "sha256": recipe.sha256,
    }
    data = {
        "format": FORMAT,
        "base": base,
        "operations": [plan.to_dict() for plan in recipe.operations],
        "attention": list(recipe.attention),
        "settings": recipe.settings,
        "example": examples.to_json(recipe.example) if recipe.example else None,
        "opened": recipe.opened,
        "parameters": recipe.parameters,
        "versions": recipe.versions,
        "order": list(recipe.order),
        "prefix": recipe.prefix,
        "tensors": recipe.tensors,
    }
    return json.dumps(data)


def from_text(text: str, what: str) -> Recipe:
    """The recipe that `to_text` wrote.

    Args:
        what: the file that it comes from, for errors.

    Raises:
        BadFile: no recipe, or one of a newer format.
    """
    try:
        data = json.loads(text)
        _refuse_newer(data["format"], what)
        return _from_data(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadOption) as error:
        raise BadFile(f"{what} holds no recipe that can be read: {type(error).__name__}: {error}.") from None


def _refuse_newer(number: object, what: str) -> None:
    if isinstance(number, int) and number > FORMAT:
        raise BadFile(
            f"{what} has recipe format {number}; this surgeon ({VERSION}) reads up to {FORMAT}. "
            "Upgrade: pip install -U attention-surgeon"
        )


def _from_data(data: Any) -> Recipe:
    base, number, tensors = data["base"], data["format"], _texts(data["tensors"])
    return Recipe(
        base=Base(base["library"], base["name"], dict(base["arguments"]), _settings(base, number)),
        operations=tuple(map(Plan.from_dict, data["operations"])),
        tensors=tensors,
        attention=tuple(data["attention"]),
        # Looked up so that a key without a tensor is refused here and not later.
        order=tuple(key for key in data["order"] if tensors[key]),
        prefix=str(data["prefix"]),
        versions=_texts(data["versions"]),
        settings=_settings_of_attention(data, number),
        # Files from before there were examples have none; a surgeon from then guesses, and says so where it can't.
        example=examples.from_json(data["example"]) if data.get("example") else None,
        opened=_shares(data.get("opened", {})),
        parameters=None if data.get("parameters") is None else int(data["parameters"]),
    )


def _settings(data: Mapping[str, Any], number: Any) -> dict[str, dict[str, Any]]:
    """Path -> settings; format 1 had none."""
    settings = data["settings"] if number > 1 else {}
    return {str(path): dict(values) for path, values in settings.items()}


def _settings_of_attention(data: Mapping[str, Any], number: Any) -> dict[str, dict[str, Any]]:
    """As `_settings`, less what early files of format 2 noted there of each gate: which operation it came from."""
    found = {
        path: {name: value for name, value in values.items() if name != "turn"}
        for path, values in _settings(data, number).items()
    }
    return {path: values for path, values in found.items() if values}


def _shares(table: Any) -> dict[str, float | None]:
    return {str(path): None if share is None else float(share) for path, share in table.items()}


def _texts(table: Any) -> dict[str, str]:
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in table.items()):
        raise TypeError("a table of texts is expected")
    return dict(table)
