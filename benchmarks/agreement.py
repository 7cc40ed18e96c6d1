"""Are the places right? Beside what the networks say of themselves: timm's feature_info, and their classes.

    python -m benchmarks.agreement               # every network of both libraries, looked at on meta tensors
    python -m benchmarks.agreement --names timm:resnet18 torchvision:vgg11
    python -m benchmarks.agreement --page        # docs/agreement.md from the results

A row for each size in a network's feature_info, with the site of surgeon's (`bottleneck`, `final`) at that
size; and a row that counts its shortcuts by class, from benchmarks/shortcuts.yaml, beside the sites of
`residual`. Results go to benchmarks/agreement.csv; docs/agreement.md is made from them, with the reasons
of benchmarks/agreement.yaml for what differs.
"""

from collections import Counter
from functools import cache
from pathlib import Path

import torch
from ruamel.yaml import YAML

from benchmarks import cells, shortcuts
from benchmarks.sweep import arguments, rows, sweep
from surgeon import networks, rulebook
from surgeon.anatomy.watch import observed
from surgeon.errors import SurgeonError
from surgeon.rulebook import match, owner
from surgeon.rulebook.words import WORDS, Candidate

TABLE = Path(__file__).with_name("agreement.csv")
REASONS = Path(__file__).with_name("agreement.yaml")
PAGE = Path(__file__).parents[1] / "docs" / "agreement.md"
COLUMNS = "network,family,what,told,found,verdict".split(",")


def main():
    args = arguments(__doc__, TABLE, PAGE).parse_args()
    if not args.page:
        sweep(args.names or cells.names(everything=True), measured, COLUMNS, args.output, args.jobs)
    if args.output == TABLE:
        PAGE.write_text(written(rows(TABLE)), encoding="utf-8")


def measured(network):
    """All rows of one network."""
    torch.set_num_threads(1)
    model = networks.build(network, empty=True)
    info = _feature_info(model)
    try:
        with observed(cells.subject(model)) as observation:
            found = [*_sizes(info, observation), _residual(observation)]
    except SurgeonError as error:
        found = [("places", "", str(error), "REFUSED")]
    return [{"network": network, "family": cells.family(network)} | dict(zip(COLUMNS[2:], row)) for row in found]


def _feature_info(model):
    """timm's list of {module, num_chs, reduction}; empty where there is none."""
    info = getattr(model, "feature_info", None) or []
    return info if isinstance(info, list) else info.info


def _sizes(info, observation):
    """(what, told, found, verdict) for each reduction in feature_info, and for each site that it has nothing for."""
    if not info:
        return
    last = {entry["reduction"]: entry for entry in info}
    sites = {value: site for place in ("bottleneck", "final") for value, site in _sites(observation, place)}
    outputs = {}
    for graph in observation.scene.graphs:
        outputs.setdefault(graph.path, []).extend(graph.outputs)
    for reduction, entry in last.items():
        value = next(
            (value for value in sites if abs(_reduction(value, observation) - reduction) * 4 < reduction), None
        )
        site = sites.pop(value, None)
        # A norm behind the map owns nothing: its site is what the module before it gives.
        owned = [value, *(outputs[site.module] if site and site.after.startswith("output") else [])]
        yield (
            f"/{reduction}",
            f"{entry['module']} ({entry['num_chs']})",
            _said(site),
            _verdict(entry, outputs.get(entry["module"], []), owned, site, observation.scene),
        )
    for value, site in sites.items():
        yield f"/{_reduction(value, observation):.0f}", "", _said(site), "extra"


def _sites(observation, place):
    """(value, Site) of one place."""
    for candidate, rule in match.candidates(*rulebook.for_place(place, rulebook.load(None)), observation.scene):
        yield candidate.value, owner.anchor(candidate, rule, observation.scene, observation.rewrites).site()


def _reduction(value, observation):
    return observation.scene.maps.image.shape[-1] / observation.scene.maps[value].size[-1]


def _said(site):
    return f"{site.module} ({site.channels})" if site else ""


def _verdict(entry, values, owned, site, scene):
    """`same` value; `shape` where the name in feature_info is no module's; `later` or `earlier` at the same size; `stem`; `missing`."""
    if site is None:
        maps = [v for v in values if scene.maps[v]]
        return (
            "stem"
            if any(not WORDS["beyond"].judge(Candidate(v, None, scene.graph), "stem", scene).holds for v in maps)
            else "missing"
        )
    if set(owned) & set(values):
        return "same"
    if not values:
        return "shape" if entry["num_chs"] == site.channels else "missing"
    return "later" if max(v.order for v in values) < owned[0].order else "earlier"


def _residual(observation):
    """The number of sites at `residual` beside that of shortcuts by the classes of the modules that ran."""
    found = len(match.candidates(*rulebook.for_place("residual", rulebook.load(None)), observation.scene))
    told = shortcuts.count(observation.scene.graphs)
    return "residual", told, found, "same" if told == found else "DIFFERENT"


HEAD = """# Are the places right?

Made by `python -m benchmarks.agreement`. Two things that networks say of themselves are held against what surgeon finds, on
every network of both libraries, looked at on meta tensors.

"""

VERDICTS = {
    "same": "the same map: the very tensor, or the one that the module with the site returns",
    "shape": "the same channels at the same size; the name in feature_info is no module's, or its module returns no map",
    "stem": "made by the stem, whose map is no end of a stage in BAM's sense",
    "later": "another map of the same size, further on",
    "earlier": "another map of the same size, before it",
    "missing": "no site at this size",
    "extra": "a site at a size that feature_info does not have",
    "REFUSED": "surgeon refused the network",
}


def written(found):
    """The page: totals, and every difference by family with its reason."""
    sizes = [row for row in found if row["what"].startswith("/")]
    blocks = [row for row in found if row["what"] == "residual"]
    same = sum(row["verdict"] == "same" for row in blocks)
    counted = sum(int(row["told"]) for row in blocks)
    lines = [
        "## `residual` beside the networks' classes",
        "",
        f"In {same} of {len(blocks)} networks the number of sites is the number of shortcuts that the classes of the blocks have ({counted:,} of them,",
        "counted by benchmarks/shortcuts.yaml, which was written from the classes' source).",
        "",
        *[
            f"- {row['network']}: {row['found']} sites, {row['told']} shortcuts"
            for row in blocks
            if row["verdict"] != "same"
        ],
        "## `bottleneck` and `final` beside timm's feature_info",
        "",
        f"{len(sizes)} sizes of {len({row['network'] for row in sizes})} networks:",
        "",
        *[
            f"- {count} `{verdict}`: {VERDICTS[verdict]}"
            for verdict, count in Counter(row["verdict"] for row in sizes).most_common()
        ],
        "",
        "### Where they differ",
        "",
        "| family | networks | verdict | such as | why |",
        "|---|---|---|---|---|",
        *_differences(found),
    ]
    return HEAD + "\n".join(lines) + "\n"


def _differences(found):
    groups = {}
    for row in found:
        if row["verdict"] in ("later", "earlier", "missing", "extra", "REFUSED"):
            groups.setdefault((row["family"], row["verdict"]), []).append(row)
    for (family, verdict), alike in sorted(groups.items()):
        first = alike[0]
        such = (
            f"{first['network']} {first['what']}: {first['told'] or 'nothing'}, surgeon {first['found'] or 'nothing'}"
        )
        yield f"| {family} | {len({row['network'] for row in alike})} | `{verdict}` | {such} | {reason(family, verdict)} |"


def reason(family, verdict):
    """Why they differ, by agreement.yaml; empty if nobody has said."""
    return _reasons().get(family, {}).get(verdict, "")


@cache
def _reasons():
    return YAML(typ="safe").load(REASONS)


if __name__ == "__main__":
    main()
