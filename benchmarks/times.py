"""How long a plan takes over the zoo, beside torchvision's create_feature_extractor on the same network.

    python -m benchmarks.times                   # every network of both libraries
    python -m benchmarks.times --every 10        # one of ten
    python -m benchmarks.times --page            # docs/times.md from the results

A plan is that of CBAM at the first place that the network has of residual, bottleneck and final,
prices included. It is timed twice: the first that the process makes of the network, and the next. The
cut, made where the plan's last site is, is timed once; before the first of them the process has planned
and cut a ResNet-18. Networks below a billion parameters, each on one core.
"""

import statistics
import time
from functools import cache, partial
from pathlib import Path

import torch
from torchvision.models.feature_extraction import create_feature_extractor

import surgeon
from benchmarks import cells
from benchmarks.sweep import arguments, rows, sweep
from surgeon import errors, networks

TABLE = Path(__file__).with_name("times.csv")
PAGE = Path(__file__).parents[1] / "docs" / "times.md"
COLUMNS = "network,family,parameters,modules,sites,first_ms,plan_ms,cut_ms,cut".split(",")
PLACES = ("residual", "bottleneck", "final")
MOST = 1e9


def main():
    args = _arguments()
    if not args.page:
        sweep(args.names or cells.names(everything=True)[:: args.every], measured, COLUMNS, args.output, args.jobs)
    if args.output == TABLE:
        PAGE.write_text(written(rows(TABLE)), encoding="utf-8")


def _arguments():
    parser = arguments(__doc__, TABLE, PAGE)
    parser.add_argument("--every", type=int, default=1, help="one network of so many (default 1)")
    return parser.parse_args()


def measured(network):
    """The row of one network; none if it has a billion parameters."""
    torch.set_num_threads(1)
    _warm()
    model = cells.subject(networks.build(network, empty=True)).eval()
    count = sum(weight.numel() for weight in model.parameters())
    if count >= MOST:
        return []
    where, first = _first(model)
    again, plan = _timed(lambda: surgeon.plan(model, "cbam", where=where))
    cut, why = _cut(model, plan.sites[-1].module)
    modules = sum(1 for _ in model.modules())
    values = (network, cells.family(network), count, modules, len(plan), f"{first:.0f}", f"{again:.0f}", cut, why)
    return [dict(zip(COLUMNS, values, strict=True))]


@cache
def _warm():
    """What only the first plan and the first cut of a process pay, paid."""
    model = networks.build("torchvision:resnet18", empty=True).eval()
    surgeon.plan(model, "cbam")
    _cut(model, "layer4")


def _first(model):
    """The place that is planned at, and how long the first plan takes."""
    for place in PLACES:
        try:
            return place, _timed(partial(surgeon.plan, model, "cbam", where=place))[0]
        except errors.NoSite:
            continue
    raise AssertionError("every network has a last map")


def _cut(model, module):
    """How long the cut takes, in milliseconds; or "" and what was raised, as many networks can't be traced as a whole."""
    try:
        return f"{_timed(lambda: create_feature_extractor(model, [module]))[0]:.0f}", ""
    except Exception as error:
        return "", type(error).__name__


def _timed(action):
    """Milliseconds, and the action's result."""
    start = time.perf_counter()
    result = action()
    return (time.perf_counter() - start) * 1000, result


def written(found):
    """The page: medians, the ratio to a cut where torch.fx can trace the network, the slowest."""
    plans = [float(row["plan_ms"]) for row in found]
    firsts = [float(row["first_ms"]) for row in found]
    ratios = [float(row["plan_ms"]) / float(row["cut_ms"]) for row in found if row["cut_ms"]]
    slowest = sorted(found, key=lambda row: -float(row["first_ms"]))[:20]
    head = [
        "# Times",
        "",
        f"Made by `python -m benchmarks.times`, one network at a time on each of two cores, on {len(found)} networks of both libraries below a billion",
        "parameters. A plan decides where CBAM goes (at the residual branches, or at the ends of stages, or at the last map) and what it costs;",
        "a cut is torchvision's `create_feature_extractor` on the same network in the same process, which traces the whole network and decides",
        "nothing. First: the first plan that a process makes of the network; plan: the next. A figure that Python's garbage collector happened to",
        "fall into holds up to 0.4 s of its own: medians say more than extremes.",
        "",
        f"- the first plan takes {statistics.median(firsts):.0f} ms as the median, {max(firsts):.0f} ms at most; the next {statistics.median(plans):.0f} ms and {max(plans):.0f} ms",
        f"- beside a cut: {statistics.median(ratios):.2f} times its time as the median over the {len(ratios)} networks that torch.fx can trace as a whole "
        f"({len(found) - len(ratios)} can't be cut), {max(ratios):.2f} times at most",
        "",
        "## The slowest",
        "",
        "| network | modules | sites | first, ms | plan, ms | cut, ms |",
        "|---|---|---|---|---|---|",
    ]
    named = ("network", "modules", "sites", "first_ms", "plan_ms")
    table = ["| " + " | ".join([*(row[name] for name in named), row["cut_ms"] or row["cut"]]) + " |" for row in slowest]
    return "\n".join([*head, *table]) + "\n"


if __name__ == "__main__":
    main()
