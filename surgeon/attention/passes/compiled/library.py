"""The loops in `source`, compiled once for a processor and a kind of numbers, kept for later, and loaded."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch

from surgeon.errors import NotCompiled

SOURCE = Path(__file__).parent / "source"
# What each kind of number is called there.
KINDS = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "Brain", torch.float16: "Half"}


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The loops for maps of `dtype`; None, and a word on it, where they can't be had."""
    try:
        return compiled(dtype)
    except Exception as error:
        warnings.warn(f"attention runs by plain operators, not compiled: {told(error)}", NotCompiled, stacklevel=2)
        return None


def missing(dtype: torch.dtype) -> str | None:
    """Why nothing can be compiled for maps of `dtype`; None if it can."""
    try:
        compiled(dtype)
    except Exception as error:
        return told(error)
    return None


def told(error: Exception) -> str:
    """What is needed, and what is wrong, in one line."""
    said = getattr(error, "stderr", None) or str(error)
    lines = [line for line in said.splitlines() if line.strip()] or [type(error).__name__]
    line = next((line for line in lines if "cannot" in line or "error" in line), lines[0])
    return f"it needs a C++ compiler (g++ or clang++, with OpenMP); asked for one: {line[:200]}"


@cache
def compiled(dtype: torch.dtype) -> ctypes.CDLL:
    """The loops for maps of `dtype`, from the folder of those that were compiled before, or compiled into it.

    Raises:
        OSError, subprocess.CalledProcessError: they can't be.
    """
    command = [*compiler(), *flags(), f"-DKIND={KINDS[dtype]}"]
    # What the compiler defines tells its version, and what the processor can do.
    defined = subprocess.run(
        [*command, "-dM", "-E", "-xc++", os.devnull], capture_output=True, text=True, check=True
    ).stdout
    texts = [path.read_bytes() for path in sorted(SOURCE.iterdir()) if path.is_file()]
    name = sha256(b"\0".join([" ".join(command).encode(), defined.encode(), *texts])).hexdigest()[:20]
    path = folder() / f"{KINDS[dtype].lower()}-{name}.so"
    if not path.exists():
        # Under another name first: whoever else compiles or loads it finds all of it, or nothing.
        with tempfile.TemporaryDirectory(dir=path.parent) as room:
            made = Path(room) / path.name
            subprocess.run(
                [*command, str(SOURCE / "passes.cpp"), "-o", str(made)], capture_output=True, text=True, check=True
            )
            made.replace(path)
    return ctypes.CDLL(str(path))


def compiler() -> list[str]:
    """The one that the environment names in CXX, with its arguments, or the first that there is."""
    commands = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    for command in map(shlex.split, commands):
        found = shutil.which(command[0])
        if found is not None:
            return [found, *command[1:]]
    raise FileNotFoundError(f"{' and '.join(commands)} not found")


def flags() -> list[str]:
    """For this processor, with threads, and without a word on how vectors are handed over: nobody else is given any."""
    native = "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"
    threads = ["-fopenmp"]
    if sys.platform == "darwin":
        # Apple's compiler has no library of threads; torch brings one along.
        threads = ["-Xpreprocessor", "-fopenmp", f"-L{Path(torch.__file__).parent / 'lib'}", "-lomp"]
    return ["-std=c++17", "-O3", native, "-shared", "-fPIC", "-Wno-psabi", *threads]


def folder() -> Path:
    """Where compiled loops are kept: with what else the user's programs keep, or, if nothing can be written there, for
    this process alone."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "surgeon"
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError:
        return _own_folder()
    return path


@cache
def _own_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="surgeon-"))
