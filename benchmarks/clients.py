"""Networks of other libraries, and of nobody's: are the places right, and does everything hold there?

    python -m benchmarks.clients                       # every network of benchmarks/clients.yaml
    python -m benchmarks.clients --names ultralytics:yolov8n
    python -m benchmarks.clients --page                # docs/clients.md from the results

benchmarks/clients.yaml says what there is in each network, counted in its classes' source. Results go to
benchmarks/clients.csv, all rows of a network at once; a run that was killed goes on where it stopped.
"""

from collections import Counter
from pathlib import Path

from benchmarks import trials, truth
from benchmarks.sweep import arguments, rows, sweep, write

TABLE = Path(__file__).with_name("clients.csv")
PAGE = Path(__file__).parents[1] / "docs" / "clients.md"


def main():
    parser = arguments(__doc__, TABLE, PAGE, jobs=1)
    parser.add_argument("--again", action="store_true", help="forget what was measured of --names")
    args = parser.parse_args()
    names = args.names or list(truth.listed()["networks"])
    if not args.page:
        if args.again:
            write(args.output, trials.COLUMNS, [row for row in rows(args.output) if row["network"] not in names])
        sweep(names, trials.measured, trials.COLUMNS, args.output, args.jobs, each=16)
    if args.output == TABLE:
        PAGE.write_text(written(rows(TABLE)), encoding="utf-8")


HEAD = """# Networks of other libraries

Made by `python -m benchmarks.clients` from `benchmarks/clients.csv`. Networks of other libraries than torchvision and timm, and some as tutorials
and papers' repositories write them ([benchmarks/strangers.py](../benchmarks/strangers.py)), with random weights. What there is in each of them was
written down beforehand, counted in the source of its classes: [benchmarks/clients.yaml](../benchmarks/clients.yaml). At each place CBAM was put in,
run, trained for one step, saved, loaded, and taken out again; places were looked for, and outputs compared bit for bit, at two sizes and two
proportions, as far as the network itself takes them.

- `right`: as many sites as the source says, at every size; for `bottleneck` and `final` at the very maps that its modules make, whoever owns them
- `WRONG`: other sites than these, and no word of it
- `refused`: surgeon says in one line why it can't, and changes nothing; `refused-size`: at another size than the one it was planned with
- `crash`: anything else went wrong

"""


def written(found):
    """The whole page."""
    return HEAD + _totals(found) + _by_library(found) + _refusals(found) + _by_network(found)


def _exists(row):
    """True where the network has the place, by its source."""
    return row["expected"] not in ("0", "")


def _totals(found):
    networks = {row["network"] for row in found}
    there = [row for row in found if _exists(row)]
    run = [row for row in found if row["eval"]]
    verdicts = Counter(row["verdict"] for row in there)
    same = sum(
        row["eval"] != "DIFFERENT" and {row["train"], row["gradients"]} <= {"same", "unrepeatable", ""} for row in run
    )
    rounded = sum(row["gradients"] == "rounded" for row in run)
    lines = [
        f"- networks: {len(networks)} of the {len(truth.listed()['networks'])} listed, of {len(set(map(_library, networks)))} libraries",
        f"- places that exist: {len(there)}; of these "
        + ", ".join(f"{count} `{name}`" for name, count in verdicts.most_common()),
        f"- the same to the bit, in eval mode and in training: {same} of {len(run)}; in {rounded} the outputs are, and the gradients of old "
        f"weights to {trials.ROUNDING:g} of the largest one: behind attention on a slice of a map they are summed in another order",
        f"- restored afterwards: {sum(row['restored'] == 'yes' for row in run)} of {len(run)}",
        f"- saved, and loaded again as the same network: {_saved(found)} (large networks with attention at one place alone)",
    ]
    return "\n".join(lines) + "\n\n"


def _library(network):
    return network.partition(":")[0]


def _by_library(found):
    """Per library and place: how many of the places that exist are right."""
    parts = [
        "| library | networks | " + " | ".join(f"`{place}`" for place in trials.PLACES) + " | saved and loaded |",
        "|---|---|" + "---|" * (len(trials.PLACES) + 1),
    ]
    for library in dict.fromkeys(_library(row["network"]) for row in found):
        rows_of = [row for row in found if _library(row["network"]) == library]
        right = []
        for place in trials.PLACES:
            there = [row for row in rows_of if row["place"] == place and _exists(row)]
            right.append(f"{sum(row['verdict'] == 'right' for row in there)} of {len(there)}")
        parts.append(
            f"| {library} | {len({row['network'] for row in rows_of})} | {' | '.join(right)} | {_saved(rows_of)} |"
        )
    return "\n".join(parts) + "\n\n"


def _saved(found):
    tried = [row for row in found if row["saved"]]
    return f"{sum(row['saved'] == 'yes' for row in tried)} of {len(tried)}"


def _refusals(found):
    """Every row that is not right, and every network that is not saved, with surgeon's own words."""
    parts = [
        "## Every no, and why\n",
        "| network | place | | the source says | surgeon says |",
        "|---|---|---|---|---|",
    ]
    for row in found:
        if row["verdict"] != "right":
            said = row["detail"] if row["verdict"] != "WRONG" else _differing(row)
            parts.append(
                f"| {row['network']} | `{row['place']}` | {row['verdict']} | {_cell(row['expected'])} | {_cell(said)} |"
            )
        if row["saved"] not in ("", "yes"):
            parts.append(f"| {row['network']} | `{row['place']}` | not saved | | {_cell(row['saved'])} |")
    return "\n".join(parts) + "\n\n"


def _differing(row):
    return row["sizes"] if row["sizes"].startswith("DIFFERENT") else row["found"]


def _cell(text):
    return text.replace("|", " or ")


def _by_network(found):
    """What was found in each network, and whether each gate learns."""
    parts = ["## Every network\n", "| network | " + " | ".join(f"`{place}`" for place in trials.PLACES) + " |"]
    parts.append("|---|" + "---|" * len(trials.PLACES))
    by_network = {}
    for row in found:
        by_network.setdefault(row["network"], {})[row["place"]] = row
    for network, places in by_network.items():
        cells = [_summary(places[place]) if place in places else "" for place in trials.PLACES]
        parts.append(f"| {network} | {' | '.join(cells)} |")
    return "\n".join(parts) + "\n"


def _summary(row):
    if row["verdict"] != "right":
        return row["verdict"]
    if not row["reached"]:
        return "none" if not _exists(row) else ""
    reached, sites = row["reached"].split("/")
    return f"{sites}, {reached} learn" if reached != sites else sites


if __name__ == "__main__":
    main()
