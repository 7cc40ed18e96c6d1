"""Kernels compiled for a GPU that need not be there: what they take of it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks.kernels.launches import Launch

# By compute capability: A100, H100.
TARGETS = {"sm_80": 80, "sm_90": 90}
POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int32: "*i32",
}
TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


class Needs(NamedTuple):
    """Registers of a thread, bytes of them that had to go to memory, bytes of shared memory of a program."""

    registers: int
    spilled: int
    shared: int


def compiled(launch: Launch, target: str) -> Any:
    options = {"num_warps": launch.warps}
    return triton.compile(_source(launch), target=GPUTarget("cuda", TARGETS[target], 32), options=options)


def needs(launch: Launch, target: str) -> Needs:
    made = compiled(launch, target)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        told = subprocess.run([TOOL, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    registers, stack = (int(re.search(rf"{name}:(\d+)", told.stdout)[1]) for name in ("REG", "STACK"))
    return Needs(registers, stack, made.metadata.shared)


def _source(launch: Launch) -> ASTSource:
    """The kernel for just the arguments that it was started with, as Triton itself would specialise it."""
    names = launch.kernel.arg_names
    given = dict(zip(names, launch.given)) | {
        name: launch.constants[name] for name in names if name in launch.constants
    }
    fixed = {
        name: value for name, value in given.items() if name in launch.constants or value is None or _is_one(value)
    }
    signature = {name: "constexpr" if name in fixed else _type(value) for name, value in given.items()}
    even = {
        (names.index(name),): [["tt.divisibility", 16]]
        for name, value in given.items()
        if name not in fixed and _is_even(value)
    }
    return ASTSource(launch.kernel, signature, fixed, even)


def _type(value: Any) -> str:
    return POINTERS[value.dtype] if isinstance(value, Tensor) else "i32" if value < 2**31 else "i64"


def _is_one(value: Any) -> bool:
    return isinstance(value, int) and value == 1


def _is_even(value: Any) -> bool:
    return isinstance(value, Tensor) or value % 16 == 0
