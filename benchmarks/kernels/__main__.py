"""What the Triton kernels take of a GPU that need not be there: traffic, registers, shared memory.

    python -m benchmarks.kernels
    python -m benchmarks.kernels --time      # on a GPU: what each takes, beside a copy; benchmarks/kernels-gpu.csv

Traffic is counted in Triton's interpreter, from the loads and stores of one image; registers and shared memory are those
of kernels compiled for an A100 (sm_80) and an H100 (sm_90). Results go to benchmarks/kernels.csv. About five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.sweep import write

TABLE = Path(__file__).parents[1] / "kernels.csv"
ON_A_GPU = TABLE.with_name("kernels-gpu.csv")
SHAPES = ((256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7))
LAYOUTS, DTYPES = ("channels_last", "NCHW"), ("bfloat16", "float32")
TIMED = "pass shape layout dtype copy_us us machine".split()
COLUMNS = "pass shape layout dtype floor_bytes bytes ratio sm_80 sm_90".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/kernels.csv)")
    parser.add_argument("--time", action="store_true", help="measure on the GPU that is here")
    parser.add_argument("--part", choices=("traffic", "needs"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps([*_part(args.part)]))
        return
    if args.time:
        write(ON_A_GPU, TIMED, [dict(zip(TIMED, row)) for row in _timed()])
        return
    # Triton has to know before it is imported whether it interprets.
    counted, needed = (_in_a_process(part) for part in ("traffic", "needs"))
    write(args.output, COLUMNS, [dict(zip(COLUMNS, [*row, *more[4:]])) for row, more in zip(counted, needed)])


def _timed() -> Any:
    import torch

    from benchmarks.kernels.clock import machine, microseconds
    from benchmarks.kernels.launches import passes

    for shape in SHAPES:
        for layout, order in (("channels_last", torch.channels_last), ("NCHW", torch.contiguous_format)):
            x = torch.randn(128, *shape, dtype=torch.bfloat16, device="cuda").contiguous(memory_format=order)
            copy = microseconds(x.clone)
            for name, one in passes(tuple(x.shape), order, torch.bfloat16, "cuda").items():
                key = [name, " x ".join(map(str, x.shape)), layout, "bfloat16"]
                yield [*key, f"{copy:.1f}", f"{microseconds(one.run):.1f}", machine()]


def _in_a_process(part: str) -> Any:
    env = os.environ | {"TRITON_INTERPRET": "1" if part == "traffic" else "0"}
    command = [sys.executable, "-m", "benchmarks.kernels", "--part", part]
    return json.loads(subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE).stdout)


def _part(part: str) -> Any:
    import torch

    from benchmarks.kernels.launches import launch, passes
    from surgeon.attention.passes.fused import launch as starting

    layouts = {"channels_last": torch.channels_last, "NCHW": torch.contiguous_format}
    for shape in SHAPES:
        for layout in LAYOUTS:
            for dtype in DTYPES:
                kind = getattr(torch, dtype)
                floor = torch.empty(shape, dtype=kind).nbytes
                for name, one in passes((1 if part == "traffic" else 2, *shape), layouts[layout], kind).items():
                    key = [name, " x ".join(map(str, shape)), layout, dtype]
                    if part == "traffic":
                        from benchmarks.kernels.traffic import traffic

                        # One image, with sums cut as in a batch of 128.
                        starting.PROGRAMS = 1024 // 128
                        count = traffic(one.run)
                        yield [*key, one.maps * floor, count, round(count / (one.maps * floor), 3)]
                    else:
                        from benchmarks.kernels.ahead import TARGETS, needs

                        found = launch(one.run)
                        yield [*key, *("/".join(map(str, needs(found, target))) for target in TARGETS)]


if __name__ == "__main__":
    main()
