"""The page on coverage, written from the table of results."""

import re

HEAD = """# Coverage

Made by `python -m benchmarks.coverage --page` from `benchmarks/coverage.csv`. Every network was built with random
weights; at each place CBAM and BAM were put in and taken out again. Those too large to be run here were operated on in the same way, at all places at
once, on weights that nobody filled in. *Same* means bit for bit: the output in eval mode, the
output and all gradients of the old weights in train mode from the same seed. Images are as small as the
network takes with every map larger than one pixel: such a map has no memory format of its own, and the gradients of convolutions behind it may be
rounded in another way.

"""

WORDS = {
    "no-such-place": "the network has no such place",
    "unread": "the network's output does not depend on the map at some of the sites, since only a class token is read behind it; surgeon's plan says so",
    "zero-gradient": "some gate gets a gradient of exactly zero, on weights with the zeros that constructors leave in them",
    "not-run": "too large to be run here: on weights that nobody filled in, each attention was put in at all places at once, and taken out again",
    "untraceable": "a forward that can't be rewritten",
    "no-input": "the network does not run on a guessed image",
    "no-build": "the library can't build it offline",
    "module-misfit": "the attention does not fit the map",
    "changed": "something changed",
    "crash": "surgeon failed",
}


PLACES = ("residual", "bottleneck", "final", "input")


def written(rows):
    """The whole page."""
    return HEAD + _totals(rows) + _by_place(rows) + _by_family(rows) + _incomplete(rows)


def _totals(rows):
    networks = {row["network"] for row in rows}
    run = [row for row in rows if row["eval"]]
    lines = [
        f"- networks: {len(networks)} ({sum(n.startswith('torchvision') for n in networks)} of torchvision, {sum(n.startswith('timm') for n in networks)} of timm)",
        f"- cells (network x place x attention): {len(rows)}, with sites {sum(bool(row['sites']) for row in rows)}, "
        f"restored afterwards {sum(row['restored'] == 'yes' for row in rows)}, run {len(run)} (of {len({row['network'] for row in run})} networks)",
        f"- the same to the bit in eval and train mode, and in all gradients of old weights: {sum(map(_is_same, run))} of {len(run)}",
    ]
    return "\n".join(lines) + "\n\n"


def _is_same(row):
    """True if nothing differs; where two runs of the network itself differ, training can't be compared."""
    return (
        row["eval"] == "same"
        and {row["train"], row["gradients"]} <= {"same", "unrepeatable"}
        and row["restored"] == "yes"
    )


def _by_place(rows):
    table = [
        "| library | place | networks with sites | without | same bits | some gates unread |",
        "|---|---|---|---|---|---|",
    ]
    for library in ("torchvision", "timm"):
        for place in PLACES:
            chosen = [row for row in rows if row["place"] == place and row["network"].startswith(library)]
            having = {row["network"] for row in chosen if row["sites"]}
            run = [row for row in chosen if row["eval"]]
            without = len({row["network"] for row in chosen} - having)
            unread = sum(row["reason"] == "unread" for row in run)
            table.append(
                f"| {library} | `{place}` | {len(having)} | {without} | {sum(map(_is_same, run))} of {len(run)} | {unread} of {len(run)} |"
            )
    return "\n".join(table) + "\n\n"


def _by_family(rows):
    """Per library and family (its file): in how many of its networks each place exists, and what was run."""
    parts = [
        "## By family\n",
        "| family | networks | " + " | ".join(f"`{place}`" for place in PLACES) + " | same bits |",
        "|---|---|" + "---|" * (len(PLACES) + 1),
    ]
    families = {}
    for row in rows:
        families.setdefault((row["network"].partition(":")[0], row["family"]), []).append(row)
    for (library, family), chosen in sorted(families.items(), key=lambda item: (item[0][0] == "timm", item[0])):
        networks, run = {row["network"] for row in chosen}, [row for row in chosen if row["eval"]]
        having = [len({row["network"] for row in chosen if row["place"] == place and row["sites"]}) for place in PLACES]
        same = f"{sum(map(_is_same, run))} of {len(run)}" if run else "not run"
        parts.append(
            f"| {library}: {family} | {len(networks)} | "
            + " | ".join(str(count or "") for count in having)
            + f" | {same} |"
        )
    return "\n".join(parts) + "\n\n"


def _incomplete(rows):
    parts = ["## Every cell that is not complete\n"]
    for reason in sorted({row["reason"] for row in rows if row["reason"] and row["reason"] != "not-run"}):
        chosen = [row for row in rows if row["reason"] == reason]
        parts.append(f"### `{reason}`: {WORDS.get(reason, reason)} ({len(chosen)} cells)\n")
        parts.append("| networks | place | in words, of the first |\n|---|---|---|")
        groups = {}
        for row in chosen:
            groups.setdefault(
                (row["network"].partition(":")[0], row["family"], row["place"], _kind(row["detail"])), []
            ).append(row)
        for (_, _, place, _), alike in sorted(groups.items()):
            names = list(dict.fromkeys(row["network"] for row in alike))
            parts.append(f"| {_listed(names)} | `{place}` | {alike[0]['detail'].replace('|', '/')} |")
        parts.append("")
    return "\n".join(parts)


def _kind(detail):
    """What a detail says, without its numbers and the places there are."""
    return re.sub(r"[\d.]+", "#", detail.partition(" Places that")[0])


def _listed(names, most=12):
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
