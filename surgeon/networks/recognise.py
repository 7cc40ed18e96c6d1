"""Which network a checkpoint is for: as the user says, as its folder or the file itself says, and as its keys prove."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from surgeon.checkpoints.checkpoint import Checkpoint
from surgeon.checkpoints.prefix import find_prefix, strip_prefix
from surgeon.errors import BadFile, BadOption, SurgeonError
from surgeon.networks import identify, library, translate
from surgeon.networks.blueprint import Arguments, Base
from surgeon.networks.code import LIBRARIES
from surgeon.networks.weights import shapes_of


class Recognised(NamedTuple):
    """The network that a checkpoint is for.

    prefix: what stands in front of the network's keys in the file.
    tensors: the network's own, under its keys.
    notes: what a reader should know.
    """

    base: Base
    prefix: str
    tensors: dict[str, Tensor]
    notes: list[str]


def recognise(found: Checkpoint, guesses: Iterable[Base]) -> Recognised:
    """The first of `guesses` that fits the checkpoint `found`.

    Raises:
        BadFile: none does; says why the first does not.
    """
    refusal = None
    for base in guesses:
        expected = shapes_of(library.build(base, empty=True))
        prefix = find_prefix(found.tensors, expected)
        tensors, rest = strip_prefix(found.tensors, prefix)
        try:
            fitted = identify.fit(base, _shapes(tensors, expected))
            return Recognised(fitted, prefix, tensors, _notes(found, prefix, rest))
        except SurgeonError as error:
            refusal = refusal or error
        renamed = translate.translated(base, tensors) or {}
        if set(_shapes(renamed, expected)) == set(expected):
            note = f"its keys are not {base}'s own: translated as {base.library} does, and written so"
            return Recognised(identify.fit(base, _shapes(renamed, expected)), "", renamed, [note])
    raise BadFile(f"{found.path}: {refusal}") from refusal


def candidates(found: Checkpoint, arch: str | None, arguments: Arguments, named: Base | None) -> list[Base]:
    """The networks that a checkpoint may be for: as the user says, as its folder says, as it says itself.

    Args:
        arch: the network that the user names.
        arguments: for its constructor.
        named: the network that a folder's config.json names.
    """
    if arch is not None:
        return [library.parse(arch, **arguments)]
    if named is not None:
        return [replace(named, arguments=named.arguments | arguments)]
    for name in found.architectures:
        bases = _of_libraries(name, arguments)
        if bases:
            return bases
    says = f" It says {found.architectures[0]!r}, which neither library knows." if found.architectures else ""
    raise BadOption(
        f"{found.path} does not say which network it is for.{says} Name it: --arch torchvision:NAME or timm:NAME."
    )


def _of_libraries(name: str, arguments: Arguments) -> list[Base]:
    """The libraries' networks of a name in a file; any other name would import code that the file chose."""
    if ":" in name:
        return [library.parse(name, **arguments)] if name.partition(":")[0] in LIBRARIES else []
    plain = name.partition(".")[0]
    known = [source for source in sorted(LIBRARIES, reverse=True) if plain in library.names(source)]
    # Where both libraries know the name and the keys fit both, the network is the same function.
    return [library.parse(f"{source}:{plain}", **arguments) for source in known]


def _shapes(tensors: Mapping[str, Tensor], expected: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Key -> shape of a checkpoint, with the step counters that torch before 0.4.1 did not have."""
    # Plain numbers, such as a step counter, may lie among the tensors.
    shapes = {key: tuple(value.shape) for key, value in tensors.items() if isinstance(value, torch.Tensor)}
    counters = {key for key in expected if key.endswith(".num_batches_tracked")}
    return shapes if counters & shapes.keys() else shapes | {key: () for key in sorted(counters)}


def completed(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in the network's order, with a zero for each step counter that an old file lacks."""
    return {key: tensors[key] if key in tensors else torch.zeros_like(own) for key, own in model.state_dict().items()}


def _notes(found: Checkpoint, prefix: str, rest: Mapping[str, Tensor]) -> list[str]:
    """What was left out of the file `found`, and what else it holds."""
    notes = []
    if prefix:
        notes.append(f"keys begin with {prefix!r}: left out in the new file's own keys, kept in a .pth")
    if rest:
        first = ", ".join(list(rest)[:3])
        notes.append(f"{len(rest)} entries are no part of the network and stay behind, except in a .pth: {first}")
    if len(found.nest) > 1:
        others = ", ".join(".".join(nest) for nest in found.nest[1:])
        notes.append(f"taken from {'.'.join(found.nest[0])!r}; the file also holds {others} (--ema takes the average)")
    return notes
