"""The page on speed, written from the table of results."""

from __future__ import annotations

from itertools import groupby
from typing import Any

Row = dict[str, Any]

HEAD = """# Performance

Made by `python -m benchmarks.speed` from `benchmarks/speed.csv`. Attention is hardly any arithmetic: its time goes into
reading and writing maps. So a module is counted in copies of its map (`x.clone()`: one read, one write), and a network in
what it takes longer than without attention. Each figure is the median of its rounds, in turn with all others of its group
in one process; times of one group are comparable, those of two groups are not.

**Which path to choose**

- Nothing to do: as it comes, attention runs by torch's own operators, and on a GPU by kernels of its own; a training step
  keeps no map but the one that the module is given (the published form keeps two).
- `surgeon.compile(model)`, or `inject(..., compile=True)`, for a CPU: the attention alone runs as loops compiled for the
  processor, each of which reads a map once and writes one at most, while the network stays eager: no graph breaks, any
  size, layers stay layers (hooks, LoRA, quantization). It needs a C++ compiler with OpenMP (g++ or clang++), takes two
  seconds for each dtype, once, and keeps what it compiled in the user's folder of caches (`surgeon` in `~/.cache`, or in
  `XDG_CACHE_HOME`).
- `torch.compile(model)`: the whole network; there attention is plain operators, which the compiler fuses itself.
- SE and ECA read the map once and cost accordingly; CBAM reads it three times. What it takes a network beyond copies of its
  maps is small layers, called as layers are: the convolution over positions, an MLP, a norm. Within a network each of them
  takes two to three times as long as in a loop of its own.

Times in copies are to be compared within a group alone: on one machine a copy of 25 MB took 1.3 ms and, an hour later, 0.6,
and all else less than that faster. On a CPU networks and growth were measured before modules: plain operators ("surgeon")
have since got faster at maxima and gradients of maps in NCHW, by up to a sixth of a CBAM's training step.

"""


def written(rows: list[Row], gpu: str) -> str:
    """The whole page, `gpu` being what it says of Triton's kernels."""
    parts = [HEAD, _networks([row for row in rows if row["kind"] == "networks"])]
    parts += [_growth([row for row in rows if row["kind"] == "growth"])]
    parts += [_modules([row for row in rows if row["kind"] == "modules"]), gpu]
    return "\n".join(part for part in parts if part)


def _networks(rows: list[Row]) -> str:
    lines = [
        "## Whole networks\n",
        "Images of 224 pixels; attention at the end of every residual block. More time than without"
        " attention, and what more a training step keeps in memory for its way back. Rounds of a whole network differ by a"
        " tenth and more where these were measured: smaller differences, and gains, are noise. Copies alone"
        " are what CBAM reads and writes at least, and nothing else: two copies of each map, and two and a half more on the"
        " way back.\n",
        _machines(rows),
        "| network | batch | layout | dtype | where | attention | inference | training step | kept |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (group, layout, *rest), those in _groups(rows, "batch", "dtype", "device"):
        plain, *others = those
        for row in others:
            more = _more(row, plain)
            kept = f"{float(row['kept_mb']) - float(plain['kept_mb']):+.0f} MB"
            batch, dtype, where = rest
            lines.append(
                f"| {group} | {batch} | {layout} | {dtype} | {where} | {row['case']} | {' | '.join(more)} | {kept} |"
            )
    return "\n".join(lines) + "\n"


def _growth(rows: list[Row]) -> str:
    """How it grows with the batch, and with the number of sites."""
    networks = [row for row in rows if row["group"].startswith("resnet50")]
    modules = [row for row in rows if row not in networks]
    if not rows:
        return ""
    batches = list(dict.fromkeys(row["batch"] for row in modules))
    took = {(row["case"], row["batch"]): row for row in modules}
    lines = [
        "## Growth\n",
        _machines(rows),
        "With the batch: milliseconds for an image of 512 x 28 x 28, channels_last, float32, inference / training step.\n",
        "| module | " + " | ".join(f"batch of {batch}" for batch in batches) + " |",
        "|---" * (len(batches) + 1) + "|",
    ]
    for case in dict.fromkeys(row["case"] for row in modules):
        cells = [
            " / ".join(f"{float(took[case, batch][name]) / int(batch):.2f}" for name in ("forward_ms", "step_ms"))
            for batch in batches
        ]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    places = list(dict.fromkeys(row["group"] for row in networks))
    found = {(row["case"], row["group"]): row for row in networks}
    lines += [
        "",
        "With the number of sites: what ResNet-50 takes more than without attention, batches of 8, inference / training step:"
        " one site on the final map, one at the end of each stage, one in each of 16 blocks.\n",
        "| attention | " + " | ".join(place.split()[1] for place in places) + " |",
        "|---" * (len(places) + 1) + "|",
    ]
    for case in dict.fromkeys(row["case"] for row in networks if row["case"] != "plain"):
        cells = [" / ".join(_more(found[case, place], found["plain", place])) for place in places]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _more(row: Row, plain: Row) -> list[str]:
    return [f"{100 * (float(row[name]) / float(plain[name]) - 1):+.0f} %" for name in ("forward_ms", "step_ms")]


def _modules(rows: list[Row]) -> str:
    lines = [
        "## One module\n",
        "In copies of its map: forward without gradients, and forward and backward in training. In brackets the middle half"
        " of all rounds.\n",
        _machines(rows),
    ]
    for (group, layout, dtype, where), those in _groups(rows, "dtype", "device"):
        copy, *others = those
        lines += [
            f"### {group}, {layout}, {dtype}, {where}: a copy takes {float(copy['forward_ms']):.2f} ms\n",
            "| module | forward | forward and backward | kept, in maps |",
            "|---|---|---|---|",
        ]
        size = float(_bytes(group, dtype)) / 1e6
        for row in others:
            cells = [_in_copies(row, name, float(copy["forward_ms"])) for name in ("forward", "step")]
            lines.append(f"| {row['case']} | {' | '.join(cells)} | {float(row['kept_mb']) / size:.1f} |")
        lines.append("")
    return "\n".join(lines)


def _bytes(group: str, dtype: str) -> int:
    """Of a map that is written as `8 x 256 x 56 x 56`."""
    count = 4 if dtype == "float32" else 2
    for length in group.split(" x "):
        count *= int(length)
    return count


def _in_copies(row: Row, name: str, copy: float) -> str:
    middle, low, high = (float(row[f"{name}_{part}"]) / copy for part in ("ms", "low", "high"))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _groups(rows: list[Row], *more: str) -> Any:
    names = ("group", "layout", *more)
    return ((key, list(those)) for key, those in groupby(rows, lambda row: tuple(row[name] for name in names)))


def _machines(rows: list[Row]) -> str:
    return "Measured on " + "; ".join(sorted({row["machine"] for row in rows})) + ".\n"
