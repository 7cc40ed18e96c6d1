"""What docs/performance.md says of a GPU, from the tables of the kernels."""

from __future__ import annotations

from itertools import groupby
from typing import Any

Row = dict[str, Any]

# How many maps each pass has to read and write, and which of them make one module.
MAPS = {"pools": 1, "squeeze": 1, "product": 2, "sums": 2, "weighted": 1, "spread": 2, "blend": 2, "blend_sums": 2}
CBAM = {"forward": ("pools", "squeeze", "product"), "backward": ("sums", "weighted", "spread")}

HEAD = """## On a GPU

Maps of a megabyte or more go by Triton kernels there, chosen without being asked, one for each pass: where Triton is
missing, or is not able to run, torch's own operators do. `pools`, `squeeze` and `product` are CBAM's way there, `sums`,
`weighted` and `spread` the way back; SE and ECA have `product`, `sums` and `spread` of them, BAM `blend`, `blend_sums` and
`spread`. A new start keeps its bits, outputs and gradients: looked at on an H200 for CBAM, BAM, SE and ECA in a ResNet-50
and CBAM in a ConvNeXt, in float32, bfloat16 and float16.
"""

SINCE = """Not timed since: maps whose lines are no multiple of 16 numbers (14 x 14 in NCHW, 24 channels with channels last) are read
several numbers at once, and tiles of `weighted`, and of small maps in NCHW, are others, which read less beside the map.
"""

HOST = """**Networks.** The least that CBAM can take is what its passes read and write: two copies of the map of each block on the way
there, four and a half with the way back. In a ResNet-50 with batches of 128 that is 1.4 ms for inference and 3.2 ms for a
training step, 17 % and 11 % of what the network takes alone, by the copies above. As one CUDA graph, where starting an
operator costs nothing, CBAM in every block takes 33 % and 28 % (the table above). Of a step of one CBAM two fifths at 56 x 56
and half at 14 x 14 are small layers, most of all the convolution over positions, which takes cuDNN 225 to 290 µs with its
way back on maps of 56 x 56.

**Who has to wait for the processor gains less.** A gate is some 12 operators on the way there and 25 on the way back, and to
start one takes 10 to 50 microseconds on the machine above: operator by operator a training step takes 51 to 72 ms with CBAM
in every block, of which the GPU works 36 ms. One CBAM alone, on a map so small that the processor is all, took 0.65 ms
forward and 3.1 ms for a step, the published form 0.34 and 1.6 ms. Larger maps, CUDA graphs or `torch.compile(model)` keep
the GPU busy.
"""


def section(counted: list[Row], timed: list[Row]) -> str:
    return "\n".join([HEAD, *_timed(timed), SINCE, HOST, *_counted(counted)]) + "\n"


def _timed(rows: list[Row]) -> list[str]:
    lines = [
        "Measured by `python -m benchmarks.kernels --time`, as CUDA graphs; the floor is a copy's time for as much traffic.",
        "",
    ]
    for (shape, layout, dtype, copy, machine), those in groupby(rows, _key):
        took = {row["pass"]: float(row["us"]) for row in those}
        lines += [
            f"{shape}, {layout}, {dtype}, a copy takes {copy} µs ({machine}):",
            "",
            "| pass | µs | times the floor |",
            "|---|---|---|",
            *(f"| {name} | {took[name]:.0f} | {_ratio([name], took, copy):.2f} |" for name in took),
            *(
                f"| CBAM's {way} | {sum(took[name] for name in names):.0f} | {_ratio(names, took, copy):.2f} |"
                for way, names in CBAM.items()
            ),
            "",
        ]
    return lines


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in ("shape", "layout", "dtype", "copy_us", "machine"))


def _ratio(names: Any, took: dict[str, float], copy: str) -> float:
    return sum(took[name] for name in names) / (sum(MAPS[name] for name in names) * float(copy) / 2)


def _counted(rows: list[Row]) -> list[str]:
    lines = [
        "What the kernels read and write, counted from their own loads and stores in Triton's interpreter, as a multiple of the",
        "maps alone (benchmarks/kernels.csv has the registers and the shared memory on sm_80 and sm_90 as well):",
        "",
    ]
    columns = [
        *dict.fromkeys((row["shape"], row["layout"], row["dtype"]) for row in rows if row["dtype"] == "bfloat16")
    ]
    lines += [
        "| pass | " + " | ".join(f"{shape}, {layout}" for shape, layout, _ in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in MAPS:
        found = {(row["shape"], row["layout"], row["dtype"]): row["ratio"] for row in rows if row["pass"] == name}
        lines.append(f"| {name} | " + " | ".join(f"{float(found[column]):.2f}" for column in columns) + " |")
    return lines
