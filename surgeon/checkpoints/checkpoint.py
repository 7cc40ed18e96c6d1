"""Checkpoints as training scripts leave them: found in their nests, read without running anybody's code.

Everything but weights stays where it was in `whole`, so that the same shape of file can be written back.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

import numpy
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from surgeon.checkpoints.header import keys_of
from surgeon.errors import BadFile
from surgeon.outside.process import quiet, shared

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TORCH_ENDINGS = (".pth", ".pt", ".tar", ".ckpt", ".bin")
ENDINGS = (".safetensors", *TORCH_ENDINGS)
# Keys under which scripts keep the weights; the first that is there counts, an average only on request.
NESTS = ("state_dict", "model", "model_state", "model_state_dict", "network", "net", "weights", "params")
AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema")
ARCHITECTURES = ("arch", "model_name", "architecture", "model", "backbone", "encoder_name")
# What numpy's numbers and arrays are pickled as a call of.
NUMBERS: tuple[Any, ...] = (numpy.float64(), numpy.empty(0))
PICKLED: tuple[Callable[..., Any], ...] = tuple(number.__reduce__()[0] for number in NUMBERS)
# What argument parsers and metrics leave in checkpoints: plain records and numbers that run no code.
HARMLESS: tuple[Callable[..., Any] | tuple[Callable[..., Any], str], ...] = (
    argparse.Namespace,
    pathlib.Path,
    pathlib.PosixPath,
    numpy.dtype,
    numpy.ndarray,
    # numpy 1 called their home `core`, numpy 2 calls it `_core`: files of both are read with both.
    *((made, f"numpy.{home}.multiarray.{made.__name__}") for made in PICKLED for home in ("core", "_core")),
    *(type(numpy.dtype(kind)) for kind in "fdeilqbBHIQ?"),
)
# Attribute of a state dict that holds surgeon's recipe and its SHA-256.
KEY = "_surgeon"

# The keys that lead to something in nested dicts, from the outside in.
Nest = tuple[str, ...]


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
    tensors: dict[str, Tensor]
    whole: Any = None
    nest: tuple[Nest, ...] = ()
    recipe: str | None = None
    recipe_sha256: str | None = None
    architectures: tuple[str, ...] = ()
    program: ExportedProgram | None = None


@overload
def read(path: str | Path, *, allow_pickle: Literal[False] = False, ema: bool = False) -> Checkpoint: ...
@overload
def read(path: str | Path, *, allow_pickle: bool = False, ema: bool = False) -> Checkpoint | nn.Module: ...
def read(path: str | Path, *, allow_pickle: bool = False, ema: bool = False) -> Checkpoint | nn.Module:
    """The Checkpoint at `path`, or the nn.Module that is pickled there.

    Args:
        allow_pickle: read whatever is in it, running its code; else weights and plain values only.
        ema: of a file with an average of the weights as well, take the average.

    Raises:
        BadFile: no such file, damaged, of an unknown ending, or without weights.
    """
    path = Path(path)
    if path.is_dir():
        raise BadFile(f"{path} is a folder without a config.json.")
    if not path.is_file():
        raise BadFile(f"there is no file {path}.")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix not in TORCH_ENDINGS:
        raise BadFile(f"{path} ends in {path.suffix or 'nothing'}; checkpoints end in {', '.join(ENDINGS)}.")
    whole = _torch(path, allow_pickle)
    return whole if isinstance(whole, nn.Module) else _dig(path, whole, ema)


def _safetensors(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in keys_of(path)}
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError, UnicodeError, TypeError) as error:
        raise BadFile(f"{path} is no whole safetensors file: {first_line(error)}.") from error
    return Checkpoint(path, tensors, recipe=metadata.get("surgeon"), recipe_sha256=metadata.get("surgeon_sha256"))


def _torch(path: Path, allow_pickle: bool) -> Any:
    """What torch.load reads. Whatever it raises is the file's fault: unpickling damaged bytes can fail in any way."""
    try:
        with quiet(), shared(_allowed):
            return _mapped(path, weights_only=not allow_pickle)
    except Exception as error:
        _refuse(path, error)


def _allowed() -> AbstractContextManager[None]:
    return torch.serialization.safe_globals([*HARMLESS])


def _refuse(path: Path, error: Exception) -> NoReturn:
    """Say what an error of torch.load means for the user."""
    text = str(error)
    if "Weights only load failed" in text and "GLOBAL" in text:
        raise BadFile(
            f"{path} holds more than weights: {_refused_class(text)} Loading it would run its code. "
            "If you trust whoever made it: --allow-pickle (allow_pickle=True)."
        ) from None
    if "TorchScript" in text:
        raise BadFile(
            f"{path} is a TorchScript archive: its program is compiled. Pass the checkpoint it was made from."
        ) from None
    raise BadFile(f"{path} is no whole checkpoint of torch's: {first_line(error)}.") from error


def _mapped(path: Path, weights_only: bool) -> Any:
    """The file's content; its tensors stay on disk until they are looked at, where the format allows it."""
    with open(path, "rb") as file:
        is_zip = file.read(2) == b"PK"
    return torch.load(path, map_location="cpu", weights_only=weights_only, mmap=is_zip)


def _refused_class(text: str) -> str:
    """The class that torch refused to unpickle, which its long message names somewhere."""
    name = text.partition("GLOBAL ")[2].split(" ")[0]
    return f"an object of {name}." if name else "an object of an unknown class."


def first_line(error: BaseException) -> str:
    """An error's first line, shortened and without its full stop; the name of its class where it has no text."""
    lines = str(error).strip().splitlines()
    return (lines[0][:200].rstrip(". ") if lines else "") or type(error).__name__


def _dig(path: Path, whole: Any, ema: bool) -> Checkpoint:
    """The state dict in what torch.load gave, one or two levels down."""
    nests = _nests(whole)
    if not nests:
        raise BadFile(f"{path} holds no weights: {_description(whole)}.")
    averages = [nest for nest in nests if not set(nest).isdisjoint(AVERAGES)]
    plain = [nest for nest in nests if nest not in averages]
    if ema and not averages:
        raise BadFile(f"{path} holds no averaged weights (looked for {', '.join(AVERAGES)}).")
    ordered = averages + plain if ema else plain + averages
    tensors = inside(whole, ordered[0])
    text, sha256 = getattr(tensors, KEY, (None, None))
    return Checkpoint(path, dict(tensors), whole, tuple(ordered), text, sha256, tuple(_architectures(whole)))


def inside(whole: Any, nest: Nest) -> Any:
    """What lies at the keys `nest` in nested dicts."""
    for key in nest:
        whole = whole[key]
    return whole


def _nests(whole: Any) -> list[Nest]:
    """Where the state dicts in `whole` lie; the empty nest where it is one itself."""
    if _is_state_dict(whole):
        return [()]
    if not isinstance(whole, dict):
        return []
    found: list[Nest] = []
    for key in (*NESTS, *AVERAGES):
        inner = whole.get(key)
        if _is_state_dict(inner):
            found.append((key,))
        elif isinstance(inner, dict):
            found += [(key, deep) for deep in (*NESTS, "module") if _is_state_dict(inner.get(deep))]
    return found


def _is_state_dict(value: object) -> bool:
    """Whether this is a table of tensors; plain numbers, such as a step counter, may be among them."""
    if not isinstance(value, dict) or not value or not all(isinstance(key, str) for key in value):
        return False
    tensors = sum(isinstance(entry, torch.Tensor) for entry in value.values())
    return tensors > 0 and not any(isinstance(entry, (dict, list)) for entry in value.values())


def _description(whole: object) -> str:
    if isinstance(whole, dict) and whole:
        return f"it has {', '.join(map(str, list(whole)[:6]))}"
    return f"it is a {type(whole).__name__}"


def _architectures(whole: Any) -> Iterator[str]:
    """Names of networks that the file gives, likeliest first.

    The training scripts of timm and torchvision write `arch`, or keep their arguments.
    """
    if not isinstance(whole, dict):
        return
    for table in (whole, whole.get("args"), whole.get("hyper_parameters"), whole.get("hparams"), whole.get("config")):
        entries = vars(table) if isinstance(table, argparse.Namespace) else table
        if isinstance(entries, dict):
            yield from (entries[key] for key in ARCHITECTURES if isinstance(entries.get(key), str))
