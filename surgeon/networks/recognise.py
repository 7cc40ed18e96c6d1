"""For which network a checkpoint of somebody's is: as they say, as its folder or the file itself says, and as its keys prove."""

from dataclasses import replace

import torch

from surgeon.checkpoints.prefix import find_prefix, strip_prefix
from surgeon.errors import BadFile, BadOption, SurgeonError
from surgeon.networks import identify, translate
from surgeon.networks import library as networks
from surgeon.networks.blueprint import Base
from surgeon.networks.weights import shapes_of


def recognise(found, guesses):
    """(base, prefix, the network's own tensors, notes): the first candidate that fits; the last one's refusal if none does."""
    refusal = None
    for base in guesses:
        expected = shapes_of(networks.build(base, empty=True))
        prefix = find_prefix(found.tensors, expected)
        tensors, rest = strip_prefix(found.tensors, prefix)
        try:
            fitted = identify.fit(base, _shapes(tensors, expected))
            return fitted, prefix, tensors, _notes(found, prefix, rest)
        except SurgeonError as error:
            refusal = refusal or error
        renamed = translate.translated(base, tensors) or {}
        if set(_shapes(renamed, expected)) == set(expected):
            note = f"its keys are not {base}'s own: translated as {base.library} does, and written so"
            return identify.fit(base, _shapes(renamed, expected)), "", renamed, [note]
    raise BadFile(f"{found.path}: {refusal}") from refusal


def candidates(found, arch, given, named):
    """The networks that a checkpoint may be for: as the user says, as its folder says, as it says itself."""
    if arch is not None:
        return [networks.parse(arch, **given)]
    if named is not None:
        return [replace(named, arguments=named.arguments | given)]
    for name in found.architectures:
        plain = name.partition(".")[0]
        known = [library for library in sorted(networks.LIBRARIES, reverse=True) if plain in networks.names(library)]
        # Of a file's own words only a library's name is loaded: anything else would import code that the file chose.
        if name.partition(":")[0] in networks.LIBRARIES or known:
            # Where both libraries know the name and the keys fit both, the network is the same function.
            return [networks.parse(name, **given)] if ":" in name else [Base(library, plain, given) for library in known]
    says = f" It says {found.architectures[0]!r}, which neither library knows." if found.architectures else ""
    raise BadOption(f"{found.path} does not say which network it is for.{says} Name it: --arch torchvision:NAME or timm:NAME.")


def _shapes(tensors, expected):
    """Key -> shape of a checkpoint, with the step counters that torch before 0.4.1 did not have."""
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    counters = {key for key in expected if key.endswith(".num_batches_tracked")}
    return shapes if counters & set(shapes) else shapes | dict.fromkeys(sorted(counters), ())


def completed(model, tensors):
    """The tensors in the network's order, with a zero for each step counter that an old file lacks."""
    return {key: tensors[key] if key in tensors else torch.zeros_like(own) for key, own in model.state_dict().items()}


def _notes(found, prefix, rest):
    notes = [f"keys begin with {prefix!r}: left out in the new file's own keys, kept in a .pth"] if prefix else []
    if rest:
        notes.append(f"{len(rest)} entries are no part of the network and stay behind, except in a .pth: {', '.join(list(rest)[:3])}")
    if len(found.nest) > 1:
        others = ", ".join(".".join(nest) for nest in found.nest[1:])
        notes.append(f"taken from {'.'.join(found.nest[0])!r}; the file also holds {others} (--ema takes the average)")
    return notes
