"""What a .safetensors file says before its weights are read: metadata, and the shape and type of each tensor."""

import json
from dataclasses import dataclass
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import safetensors

from surgeon.errors import BadFile

# Bytes of one number, by its type in the header.
SIZES = {"C64": 8, "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


@dataclass(frozen=True)
class Entry:
    """One tensor: its shape, and how many bytes it takes."""

    shape: tuple[int, ...]
    nbytes: int

    @property
    def numel(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Header:
    """metadata: texts by name. tensors: key -> Entry, in the file's own order."""

    metadata: dict[str, str]
    tensors: dict[str, Entry]


def read_header(path: str | Path) -> Header:
    """The Header of the file at `path`; neither torch nor a weight is loaded.

    Raises:
        BadFile: no such file, or no whole safetensors file.
    """
    if not Path(path).is_file():
        raise BadFile(f"there is no file {path}.")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return Header(file.metadata() or {}, {key: _entry(file.get_slice(key)) for key in keys_of(path)})
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError, UnicodeError, TypeError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadFile(f"{path} is no whole safetensors file: {line[:200].rstrip('. ')}.") from error


def keys_of(path: str | Path) -> list[str]:
    """The keys of the file at `path`, which is a whole one, in the order in which its tensors lie there.

    `safe_open` gives them by name; newer releases alone have another method for this.
    """
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return sorted(header, key=lambda key: header[key]["data_offsets"])


def settle(path: str | PathLike[str]) -> None:
    """Put the metadata of the file at `path` in the order of their names: safetensors writes them in any, each time.

    The same network is the same bytes then, whoever wrote it.
    """
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        before = file.read(size)
        header = json.loads(before)
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        after = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size)
        # The same texts in another order are as long.
        if len(after) == size:
            file.seek(8)
            file.write(after)


def _entry(tensor: Any) -> Entry:
    """The entry of a tensor as `safetensors.safe_open` gives it out."""
    shape = tuple(tensor.get_shape())
    return Entry(shape, prod(shape) * SIZES.get(tensor.get_dtype(), 1))
