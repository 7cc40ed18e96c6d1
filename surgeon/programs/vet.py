"""A `torch.export` archive looked through before torch reads it: nothing in it may run code.

torch.export.load unpickles sample inputs and some tensors, loads compiled libraries, evaluates texts
as expressions and writes names into Python. Archives that need none of it are the usual ones.
"""

import io
import json
import re
import zipfile

import torch
from torch.export.pt2_archive import PT2ArchiveReader

from surgeon.errors import BadFile
from surgeon.programs import plain

MODEL, SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
TABLES = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
RECORDS = re.compile(r"data/weights/weight_\d+|data/constants/tensor_\d+|extra/[\w.]+|archive_format|archive_version|byteorder|\.data/[\w.]+|\.format_version")
# Told to people and kept as data; never code.
TALK = {"stack_trace", "torch_fn", "from_node", "custom", "torch_version"}
RULES = {
    "expr_str": (plain.is_sum, "a size"),
    "guards_code": (plain.is_guard, "a condition"),
    "target": (plain.is_operator, "an operator"),
    "as_operator": (plain.is_operator, "an operator"),
    "in_spec": (plain.is_nest, "a structure of arguments"),
    "out_spec": (plain.is_nest, "a structure of results"),
    "as_string": (plain.WORDS.fullmatch, "an argument"),
    "as_strings": (plain.WORDS.fullmatch, "an argument"),
    "nn_module_stack": (plain.PATHS.fullmatch, "a path"),
    "source_fn_stack": (plain.PATHS.fullmatch, "a path"),
}


def archive(path):
    """Nothing, where reading the program at `path` can't run code.

    Raises:
        BadFile: it might; says what stands in the way, and how to read the file all the same.
    """
    _format(path)
    # torch's own reader, lest it find another record than the one that was looked at.
    reader = PT2ArchiveReader(str(path))
    names = reader.get_file_names()
    _records(path, names)
    for table in TABLES:
        _table(path, json.loads(reader.read_string(table)))
    _samples(path, reader)
    _texts(path, None, json.loads(reader.read_string(MODEL)))


def _refuse(path, what):
    raise BadFile(f"{path} holds {what}: reading it might run code from the file. If you trust whoever made it: --allow-pickle (allow_pickle=True).")


def _format(path):
    with zipfile.ZipFile(path) as file:
        # What torch reads as a program of torch 2.7 if its newer reader fails; by another zip reader at that.
        if "version" in file.namelist():
            _refuse(path, "a program of an old format")
        if sum(record.file_size for record in file.infolist()) > path.stat().st_size:
            raise BadFile(f"{path} is no whole program of torch.export: it claims to hold more than its size.")


def _records(path, names):
    strange = next((name for name in names if name not in (MODEL, SAMPLES, *TABLES) and not RECORDS.fullmatch(name)), None)
    if strange is not None:
        _refuse(path, f"{_shown(strange)}, which is no part of a plain program")


def _table(path, table):
    """Weights and constants: raw bytes, no pickles of tensors or of anything else."""
    for key, entry in table["config"].items():
        if entry["use_pickle"] is not False or not entry["path_name"].startswith(("weight_", "tensor_")):
            _refuse(path, f"a pickle for {_shown(key)}")
    _texts(path, None, table)


def _samples(path, reader):
    try:
        # As torch does it first; the second way that it has runs code.
        torch.load(io.BytesIO(reader.read_bytes(SAMPLES)), weights_only=True)
    except Exception:  # unpickling can fail in every way there is
        _refuse(path, "sample inputs that are more than tensors")


def _texts(path, key, value):
    """Every text in nested JSON, by the rule for the key that it stands at."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _text(path, None, name)
            _texts(path, name, inner)
    elif isinstance(value, list):
        for inner in value:
            _texts(path, key, inner)
    elif isinstance(value, str) and key not in TALK:
        _text(path, key, value)


def _text(path, key, text):
    fits, what = RULES.get(key, (plain.is_name, "a name"))
    if not fits(text):
        _refuse(path, f"{_shown(text)} as {what}")


def _shown(text):
    return repr(text if len(text) < 80 else f"{text[:77]}...")
