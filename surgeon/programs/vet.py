"""A `torch.export` archive looked through before torch reads it: nothing in it may run code.

torch.export.load unpickles sample inputs and some tensors, loads compiled libraries, evaluates texts
as expressions and writes names into Python. Archives that need none of it are the usual ones.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch

from surgeon.errors import BadFile, BadVersion
from surgeon.programs import plain

# The oldest torch whose programs the tests write and read.
TESTED = "2.11"
MODEL, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
TABLES = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
RECORDS = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|extra/[\w.]+"
    r"|archive_format|archive_version|byteorder|\.data/[\w.]+|\.format_version"
)
# Keys of texts that are shown to people or kept as data, and never become code.
UNCHECKED = {"stack_trace", "torch_fn", "from_node", "custom", "torch_version"}


class Rule(NamedTuple):
    """What a text must be: a test that a plain one passes, and a name for errors."""

    fits: Callable[[str], object]
    kind: str


RULES = {
    "expr_str": Rule(plain.is_sum, "a size"),
    "guards_code": Rule(plain.is_guard, "a condition"),
    "target": Rule(plain.is_operator, "an operator"),
    "as_operator": Rule(plain.is_operator, "an operator"),
    "in_spec": Rule(plain.is_nest, "a structure of arguments"),
    "out_spec": Rule(plain.is_nest, "a structure of results"),
    "as_string": Rule(plain.WORDS.fullmatch, "an argument"),
    "as_strings": Rule(plain.WORDS.fullmatch, "an argument"),
    "nn_module_stack": Rule(plain.PATHS.fullmatch, "a path"),
    "source_fn_stack": Rule(plain.PATHS.fullmatch, "a path"),
}
# At every other key, and of the keys themselves.
NAME = Rule(plain.is_name, "a name")


def archive(path: Path) -> None:
    """Make sure that reading the program at `path` can't run code.

    Raises:
        BadFile: it might; says what stands in the way, and how to read the file all the same.
        BadVersion: this torch is too old.
    """
    kind = reader_kind()
    _format(path)
    # torch's own reader: another one might find other records in the same file than torch does later.
    reader = kind(str(path))
    names = reader.get_file_names()
    _records(path, names)
    for table in TABLES:
        _table(path, json.loads(reader.read_string(table)))
    _samples(path, reader)
    _texts(path, None, json.loads(reader.read_string(MODEL)))


def reader_kind() -> Any:
    """torch's own reader of .pt2 archives.

    Raises:
        BadVersion: this torch has none.
    """
    try:
        from torch.export.pt2_archive import PT2ArchiveReader
    except ImportError:
        raise BadVersion(
            f".pt2 needs torch {TESTED} or newer, and this is {torch.__version__}. All other formats work with it."
        ) from None
    return PT2ArchiveReader


def _refuse(path: Path, what: str) -> NoReturn:
    raise BadFile(
        f"{path} holds {what}: reading it might run code from the file. "
        "If you trust whoever made it: --allow-pickle (allow_pickle=True)."
    )


def _format(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        # Where its newer reader fails, torch takes such a file for a program of torch 2.7, and opens it in another way.
        if "version" in file.namelist():
            _refuse(path, "a program of an old format")
        if sum(record.file_size for record in file.infolist()) > path.stat().st_size:
            raise BadFile(f"{path} is no whole program of torch.export: it claims to hold more than its size.")


def _records(path: Path, names: Iterable[str]) -> None:
    for name in names:
        if name not in (MODEL, SAMPLES, *TABLES) and not RECORDS.fullmatch(name):
            _refuse(path, f"{_shown(name)}, which is no part of a plain program")


def _table(path: Path, table: Any) -> None:
    """Weights and constants: raw bytes, no pickles of tensors or of anything else."""
    for key, entry in table["config"].items():
        if entry["use_pickle"] is not False or not entry["path_name"].startswith(("weight_", "tensor_")):
            _refuse(path, f"a pickle for {_shown(key)}")
    _texts(path, None, table)


def _samples(path: Path, reader: Any) -> None:
    try:
        # torch tries this first as well; where it fails, torch goes on to a way that runs code.
        torch.load(io.BytesIO(reader.read_bytes(SAMPLES)), weights_only=True)
    except Exception:  # unpickling can fail in every way there is
        _refuse(path, "sample inputs that are more than tensors")


def _texts(path: Path, key: str | None, value: Any) -> None:
    """Every text in nested JSON, by the rule for the key that it stands at."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _text(path, None, name)
            _texts(path, name, inner)
    elif isinstance(value, list):
        for inner in value:
            _texts(path, key, inner)
    elif isinstance(value, str) and key not in UNCHECKED:
        _text(path, key, value)


def _text(path: Path, key: str | None, text: str) -> None:
    rule = RULES.get(key, NAME) if key else NAME
    if not rule.fits(text):
        _refuse(path, f"{_shown(text)} as {rule.kind}")


def _shown(text: str) -> str:
    return repr(text if len(text) < 80 else f"{text[:77]}...")
