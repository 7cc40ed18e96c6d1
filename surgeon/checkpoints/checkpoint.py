"""Checkpoints as training scripts leave them: found in their nests, read without running anybody's code.

Everything but weights stays where it was in `whole`, so that the same shape of file can be written back.
"""

import argparse
import pathlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy
import safetensors
import safetensors.torch
import torch
from torch import nn

from surgeon.errors import BadFile

TORCH_ENDINGS = (".pth", ".pt", ".tar", ".ckpt", ".bin")
ENDINGS = (".safetensors", *TORCH_ENDINGS)
# Where scripts keep the weights, first come first served; an average of them only if it is asked for.
NESTS = ("state_dict", "model", "model_state", "model_state_dict", "network", "net", "weights", "params")
AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema")
ARCHITECTURES = ("arch", "model_name", "architecture", "model", "backbone", "encoder_name")
# What argument parsers and metrics leave in checkpoints: plain records and numbers that run no code.
HARMLESS = [argparse.Namespace, pathlib.Path, pathlib.PosixPath, numpy.dtype, numpy.ndarray, numpy._core.multiarray.scalar,
            numpy._core.multiarray._reconstruct, *(type(numpy.dtype(kind)) for kind in "fdeilqbBHIQ?")]
KEY = "_surgeon"


@dataclass
class Checkpoint:
    """A file of weights.

    tensors: the state dict with its keys as they are in the file.
    whole: all that the file holds (nested dicts); the state dict itself where it holds nothing else.
    nest: the keys in `whole` that lead to state dicts with the same keys, the chosen one first.
    recipe: surgeon's own recipe as text, where the file has one.
    architectures: names of networks that the file gives.
    program: what a .pt2 holds.
    """

    path: Path
    tensors: dict
    whole: object = None
    nest: tuple = ()
    recipe: str | None = None
    recipe_sha256: str | None = None
    architectures: tuple = ()
    program: object = None


def read(path, *, allow_pickle=False, ema=False):
    """The Checkpoint at `path`, or the nn.Module that is pickled there.

    Args:
        allow_pickle: read whatever is in it, running its code; else weights and plain values only.
        ema: of a file with an average of the weights as well, take the average.

    Raises:
        BadFile: no such file, damaged, of an unknown ending, or without weights.
    """
    path = Path(path)
    if not path.is_file():
        raise BadFile(f"there is no file {path}." if not path.is_dir() else f"{path} is a folder without a config.json.")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix not in TORCH_ENDINGS:
        raise BadFile(f"{path} ends in {path.suffix or 'nothing'}; checkpoints end in {', '.join(ENDINGS)}.")
    whole = _torch(path, allow_pickle)
    return whole if isinstance(whole, nn.Module) else _dig(path, whole, ema)


def _safetensors(path):
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            # In the file's own order: its keys are sorted in no other way that means something.
            tensors = {key: file.get_tensor(key) for key in file.offset_keys()}
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError, UnicodeError, TypeError) as error:
        raise BadFile(f"{path} is no whole safetensors file: {first_line(error)}.") from error
    return Checkpoint(path, tensors, None, (), told.get("surgeon"), told.get("surgeon_sha256"))


def _torch(path, allow_pickle):
    """What torch.load reads. Any failure in a damaged file is the file's: unpickling can fail in every way there is."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(HARMLESS):
            warnings.simplefilter("ignore")
            return _mapped(path, weights_only=not allow_pickle)
    except Exception as error:
        text = str(error)
        if "Weights only load failed" in text and "GLOBAL" in text:
            raise BadFile(f"{path} holds more than weights: {_stranger(text)} Loading it would run its code. "
                          "If you trust whoever made it: --allow-pickle (allow_pickle=True).") from None
        if "TorchScript" in text:
            raise BadFile(f"{path} is a TorchScript archive: its program is compiled. Pass the checkpoint it was made from.") from None
        raise BadFile(f"{path} is no whole checkpoint of torch's: {first_line(error)}.") from error


def _mapped(path, weights_only):
    """Tensors that stay on disk until they are looked at, where the file's format allows it."""
    with open(path, "rb") as file:
        is_zip = file.read(2) == b"PK"
    return torch.load(path, map_location="cpu", weights_only=weights_only, mmap=is_zip)


def _stranger(text):
    """The part of torch's long message that names what was refused."""
    name = text.partition("GLOBAL ")[2].split(" ")[0]
    return f"an object of {name}." if name else "an object of an unknown class."


def first_line(error):
    """An error's first line, short, without its full stop; its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return (lines[0][:200].rstrip(". ") if lines else "") or type(error).__name__


def _dig(path, whole, ema):
    """The state dict in what torch.load gave, one or two levels down."""
    nests = _nests(whole)
    if not nests:
        raise BadFile(f"{path} holds no weights: {_told(whole)}.")
    averages = [nest for nest in nests if nest[-1:] and nest[-1] in AVERAGES]
    plain = [nest for nest in nests if nest not in averages]
    if ema and not averages:
        raise BadFile(f"{path} holds no averaged weights (looked for {', '.join(AVERAGES)}).")
    ordered = averages + plain if ema or not plain else plain + averages
    tensors = inside(whole, ordered[0])
    text, sha256 = getattr(tensors, KEY, (None, None))
    return Checkpoint(path, dict(tensors), whole, tuple(ordered), text, sha256, tuple(_architectures(whole)))


def inside(whole, nest):
    """What lies at the keys `nest` in nested dicts."""
    for key in nest:
        whole = whole[key]
    return whole


def _nests(whole):
    """Paths of keys to every state dict in `whole`; the empty path where it is one itself."""
    if _is_state_dict(whole):
        return [()]
    if not isinstance(whole, dict):
        return []
    found = []
    for key in (*NESTS, *AVERAGES):
        inner = whole.get(key)
        if _is_state_dict(inner):
            found.append((key,))
        elif isinstance(inner, dict):
            found += [(key, deep) for deep in (*NESTS, "module") if _is_state_dict(inner.get(deep))]
    return found


def _is_state_dict(value):
    """Whether this is a table of tensors: buffers of other kinds and a step counter may be among them."""
    if not isinstance(value, dict) or not value or not all(isinstance(key, str) for key in value):
        return False
    tensors = sum(isinstance(entry, torch.Tensor) for entry in value.values())
    return tensors > 0 and not any(isinstance(entry, (dict, list)) for entry in value.values())


def _told(whole):
    return f"it has {', '.join(map(str, list(whole)[:6]))}" if isinstance(whole, dict) and whole else f"it is a {type(whole).__name__}"


def _architectures(whole):
    """Names of networks that the file gives, likeliest first: timm and torchvision's scripts write `arch` or keep their arguments."""
    if not isinstance(whole, dict):
        return
    for table in (whole, whole.get("args"), whole.get("hyper_parameters"), whole.get("hparams"), whole.get("config")):
        table = vars(table) if isinstance(table, argparse.Namespace) else table
        if isinstance(table, dict):
            yield from (table[key] for key in ARCHITECTURES if isinstance(table.get(key), str))
