"""The Triton kernels compiled for GPUs that need not be here, and their traffic counted."""

import json
import os
import subprocess
import sys

import pytest
import torch
from packaging.version import Version

triton = pytest.importorskip("triton", reason="torch for CPUs alone comes without Triton")
from benchmarks.kernels.launches import passes  # noqa: E402

pytestmark = pytest.mark.export

COMPILE = """
import json, torch
from benchmarks.kernels.ahead import TARGETS, needs
from benchmarks.kernels.launches import launch, passes
made = passes((2, 64, 14, 14), torch.channels_last, torch.bfloat16)
print(json.dumps({name: [needs(launch(one.run), target) for target in TARGETS] for name, one in made.items()}))
"""
# How often each reads a single number of two bytes.
SINGLES = """
import json, sys, torch
from benchmarks.kernels.ahead import compiled
from benchmarks.kernels.launches import launch, passes
shape, layout = json.loads(sys.argv[1]), getattr(torch, sys.argv[2])
made = passes(shape, layout, torch.bfloat16)
print(json.dumps({name: compiled(launch(one.run), "sm_90").asm["ptx"].count("ld.global.b16") for name, one in made.items()}))
"""
ahead = pytest.mark.skipif(
    Version(triton.__version__) < Version("3.6"), reason="older releases are told otherwise what to compile"
)


def told(program, *given):
    env = os.environ | {"TRITON_INTERPRET": "0"}
    done = subprocess.run([sys.executable, "-c", program, *given], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@ahead
def test_all_compile_for_an_a100_and_an_h100_and_spill_nothing():
    found = told(COMPILE)
    assert set(found) == set(passes((1, 8, 4, 4), torch.channels_last, torch.float32))
    for name, those in found.items():
        for registers, spilled, shared in those:
            assert 16 <= registers <= 255 and spilled == 0 and shared <= 48 * 1024, name


@ahead
@pytest.mark.parametrize(
    ("shape", "layout", "singles"),
    [
        ((2, 64, 14, 14), "contiguous_format", False),
        ((2, 24, 14, 14), "channels_last", False),
        # Of 49 nothing is a multiple.
        ((2, 64, 7, 7), "contiguous_format", True),
    ],
    ids=["rows", "columns", "neither"],
)
def test_lengths_that_are_no_multiple_of_16_are_read_several_numbers_at_once(shape, layout, singles):
    assert {count > 0 for count in told(SINGLES, json.dumps(shape), layout).values()} == {singles}


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="counted in Triton's interpreter, which is for machines without a GPU"
)
@pytest.mark.skipif(Version(triton.__version__) < Version("3.6"), reason="older interpreters can't run them")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["first", "last"])
@pytest.mark.parametrize(("side", "dtype"), [(16, torch.float32), (14, torch.bfloat16)], ids=str)
def test_each_reads_and_writes_at_most_a_quarter_beside_its_maps(side, dtype, layout, monkeypatch):
    from benchmarks.kernels.traffic import traffic

    # One image, with sums cut as in a batch of 128.
    monkeypatch.setattr("surgeon.attention.passes.fused.launch.PROGRAMS", 1024 // 128)
    size = 256 * side**2 * dtype.itemsize
    for name, one in passes((1, 256, side, side), layout, dtype).items():
        counted = traffic(one.run)
        assert one.maps * size < counted <= 1.25 * one.maps * size, name
