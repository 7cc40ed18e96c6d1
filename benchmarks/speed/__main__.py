"""What attention costs in time and in memory: one module on one map, whole networks, and the same for their rivals.

    python -m benchmarks.speed                        # all groups: about half an hour on two cores
    python -m benchmarks.speed --groups modules --rounds 5
    python -m benchmarks.speed --device cuda          # on a GPU: bfloat16, batches of 128; about ten minutes
    python -m benchmarks.speed --page                 # docs/performance.md from the table

Nothing else may run meanwhile. Cases of a group take turns, in one process; ratios are made within it. The allocator is
told to keep what it has: a copy of 25 MB costs 1 ms or 8 ms by that alone. Threads wait for each other as they do for
users, awake; beside other work that takes them milliseconds, and asleep they would be woken for 0.1 ms each time.
Results go to benchmarks/speed.csv, a group at a time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from pathlib import Path

from benchmarks.kernels import page as kernels
from benchmarks.kernels.__main__ import ON_A_GPU
from benchmarks.kernels.__main__ import TABLE as COUNTED
from benchmarks.speed import page
from benchmarks.speed.cases import FORMATS, NETWORKS, PIXELS, STAGES, Group
from benchmarks.speed.measure import THREADS, in_a_process
from benchmarks.sweep import rows

TABLE = Path(__file__).parents[1] / "speed.csv"
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
SETTINGS = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34), "OMP_NUM_THREADS": str(THREADS)}
# Float32 in both orders at all stages; half precision at the first.
CPU = [Group((8, *stage), layout, "float32") for stage, layout in itertools.product(STAGES, FORMATS)]
CPU += [Group((8, *STAGES[0]), layout, "bfloat16") for layout in FORMATS]
# On a GPU by graphs: to tell it what to do takes longer than to do it.
GPU = [Group((128, *stage), "channels_last", "bfloat16", "cuda", graph=True) for stage in STAGES]
GPU += [Group((128, *STAGES[0]), "NCHW", "bfloat16", "cuda", graph=True)]
GPU += [Group((128, *STAGES[0]), "channels_last", dtype, "cuda", graph=True) for dtype in ("float16", "float32")]
NETWORK = (3, PIXELS, PIXELS)
# One module with more and more images, and one network with attention at more and more sites.
BATCHES, PLACES = (1, 4, 16, 64), ("final", "bottleneck", "residual")
GROWTH = [Group((batch, *STAGES[1]), "channels_last", "float32", growth=True) for batch in BATCHES]
GROWTH += [
    Group((8, *NETWORK), "channels_last", "float32", network="resnet50", place=place, growth=True) for place in PLACES
]
GROUPS: dict[str, dict[str, list[Group]]] = {
    "cpu": {
        "modules": CPU,
        "networks": [Group((8, *NETWORK), layout, "float32", "cpu", name) for name in NETWORKS for layout in FORMATS],
        "growth": GROWTH,
    },
    "cuda": {
        "modules": GPU,
        "networks": [
            Group((128, *NETWORK), "channels_last", "bfloat16", "cuda", name, graph)
            for name in NETWORKS
            for graph in (True, False)
        ],
        "growth": [],
    },
}
KINDS = ["modules", "networks", "growth"]


def main() -> None:
    args = _arguments()
    if not args.page:
        _settle()
        for kind in args.groups:
            for group in GROUPS[args.device][kind]:
                if not args.names or any(
                    word in f"{group.name} {group.layout} {group.dtype} {group.where}." for word in args.names
                ):
                    in_a_process(args.output, group, args.rounds, args.without)
    if args.page or args.output == TABLE:
        PAGE.write_text(page_of(args.output), encoding="utf-8")


def page_of(table: Path) -> str:
    return page.written(rows(table), kernels.section(rows(COUNTED), rows(ON_A_GPU)))


def _settle() -> None:
    """This very command once more, with what has to be set before a process begins."""
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.speed", *sys.argv[1:]], os.environ | SETTINGS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="+", choices=KINDS, default=KINDS, help="only these kinds")
    parser.add_argument("--device", choices=GROUPS, default="cpu", help="cpu (the default) or cuda")
    parser.add_argument("--names", nargs="+", help="only groups with one of these words, such as resnet50")
    parser.add_argument("--without", nargs="+", default=[], help="no cases with one of these words, such as compiled")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of all cases of a group (default 15)")
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/speed.csv)")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from the table, measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
