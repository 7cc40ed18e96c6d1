"""How long a plan takes over the zoo, beside torchvision's create_feature_extractor on the same network.

    python -m benchmarks.times                   # every fourth network of both libraries
    python -m benchmarks.times --every 1         # all of them
    python -m benchmarks.times --page            # docs/times.md from the results

Both are run in turns in one process, once to warm up and then three times; the table has the medians.
A plan is that of CBAM at the first place that the network has of residual, bottleneck and final,
prices included; the cut is made where the plan's last site is. Networks below a billion parameters.
"""

import statistics
import time
from pathlib import Path

import torch
from torchvision.models.feature_extraction import create_feature_extractor

import surgeon
from benchmarks import cells
from benchmarks.sweep import arguments, rows, sweep
from surgeon import sources

TABLE = Path(__file__).with_name("times.csv")
PAGE = Path(__file__).parents[1] / "docs" / "times.md"
COLUMNS = "network,family,parameters,modules,sites,plan_ms,cut_ms,cut".split(",")
RUNS = 3
MOST = 1e9


def main():
    args = _arguments()
    if not args.page:
        sweep(args.names or cells.names(everything=True)[:: args.every], measured, COLUMNS, args.output, args.jobs)
    PAGE.write_text(written(rows(args.output)), encoding="utf-8")


def _arguments():
    # One process: several would disturb each other.
    parser = arguments(__doc__, TABLE, PAGE, jobs=1)
    parser.add_argument("--every", type=int, default=4, help="one network of so many (default 4)")
    return parser.parse_args()


def measured(network):
    """The row of one network; none if it has a billion parameters."""
    torch.set_num_threads(1)
    model = cells.subject(sources.build(network, empty=True)).eval()
    count = sum(weight.numel() for weight in model.parameters())
    if count >= MOST:
        return []
    found = surgeon.places(model)
    where = next(place for place in ("residual", "bottleneck", "final") if found[place])
    plan = surgeon.plan(model, "cbam", where=where)
    times, cut = {"plan": [], "cut": []}, ""
    for _ in range(RUNS + 1):
        times["plan"].append(_milliseconds(lambda: surgeon.plan(model, "cbam", where=where)))
        try:
            times["cut"].append(_milliseconds(lambda: create_feature_extractor(model, [plan.sites[-1].module])))
        except Exception as error:  # many networks can't be traced as a whole
            cut = type(error).__name__
    medians = [f"{statistics.median(taken[1:]):.0f}" if taken else "" for taken in times.values()]
    modules = sum(1 for _ in model.modules())
    return [dict(zip(COLUMNS, (network, cells.family(network), count, modules, len(plan), *medians, cut), strict=True))]


def _milliseconds(action):
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def written(found):
    """The page: medians, the ratio to a cut where torch.fx can trace the network, the slowest."""
    plans = [float(row["plan_ms"]) for row in found]
    ratios = [float(row["plan_ms"]) / float(row["cut_ms"]) for row in found if row["cut_ms"]]
    slowest = sorted(found, key=lambda row: -float(row["plan_ms"]))[:20]
    head = [
        "# Times",
        "",
        f"Made by `python -m benchmarks.times` on one core, on {len(found)} networks of both libraries below a billion parameters. A plan decides where",
        "CBAM goes (at the residual branches, or at the ends of stages, or at the last map) and what it costs; a cut is torchvision's",
        "`create_feature_extractor` on the same network in the same process, which traces the whole network and decides nothing.",
        "The committed table was measured beside other work on the machine: compare the columns, not the clock.",
        "",
        f"- a plan takes {statistics.median(plans):.0f} ms as the median, {max(plans):.0f} ms at most",
        f"- beside a cut: {statistics.median(ratios):.2f} times its time as the median over the {len(ratios)} networks that torch.fx can trace as a whole "
        f"({len(found) - len(ratios)} can't be cut), {max(ratios):.2f} times at most",
        "",
        "## The slowest",
        "",
        "| network | modules | sites | plan, ms | cut, ms |",
        "|---|---|---|---|---|",
    ]
    table = [f"| {row['network']} | {row['modules']} | {row['sites']} | {row['plan_ms']} | {row['cut_ms'] or row['cut']} |" for row in slowest]
    return "\n".join([*head, *table]) + "\n"


if __name__ == "__main__":
    main()
