"""The page on coverage, written from the table of results."""

from collections import Counter

HEAD = """# Coverage

Made by `python -m benchmarks.coverage --page` from `benchmarks/coverage.csv`. Every network was built with random
weights; at each place CBAM and BAM were put in and taken out again. *Same* means bit for bit: the output in eval mode, the
output and all gradients of the old weights in train mode from the same seed. Images are as small as the
network takes with every map larger than one pixel: such a map has no memory format of its own, and the gradients of convolutions behind it may be
rounded in another way.

"""

WORDS = {
    "no-such-place": "the network has no such place",
    "zero-gradient": "on fresh weights some gate gets a gradient of exactly zero: the branch or the head starts at zero, or only a class token is read after it",
    "not-run": "looked at only, too large to be run here",
    "untraceable": "a forward that can't be rewritten",
    "no-input": "the network does not run on a guessed image",
    "no-build": "the library can't build it offline",
    "module-misfit": "the attention does not fit the map",
    "changed": "something changed",
    "crash": "surgeon failed",
}


def written(rows):
    """The whole page."""
    return HEAD + _totals(rows) + _by_place(rows) + _exceptions(rows)


def _totals(rows):
    networks = {row["network"] for row in rows}
    run = [row for row in rows if row["eval"]]
    same = [row for row in run if row["eval"] == "same" and row["train"] in ("same", "unrepeatable") and row["restored"] == "yes"]
    lines = [
        f"- networks: {len(networks)} ({sum(n.startswith('torchvision') for n in networks)} of torchvision, {sum(n.startswith('timm') for n in networks)} of timm)",
        f"- cells (network x place x attention): {len(rows)}, with sites {sum(bool(row['sites']) for row in rows)}, run {len(run)}",
        f"- the same to the bit in eval and train mode, and restored: {len(same)} of {len(run)}",
    ]
    return "\n".join(lines) + "\n\n"


def _by_place(rows):
    table = ["| library | place | networks with sites | without | same bits | gradients reach every gate |", "|---|---|---|---|---|---|"]
    for library in ("torchvision", "timm"):
        for place in ("residual", "bottleneck", "final", "input"):
            chosen = [row for row in rows if row["place"] == place and row["network"].startswith(library)]
            having = {row["network"] for row in chosen if row["sites"]}
            run = [row for row in chosen if row["eval"]]
            same = sum(row["eval"] == row["gradients"] == "same" for row in run)
            reached = sum(row["reason"] != "zero-gradient" for row in run)
            without = len({row["network"] for row in chosen} - having)
            table.append(f"| {library} | `{place}` | {len(having)} | {without} | {same} of {len(run)} | {reached} of {len(run)} |")
    return "\n".join(table) + "\n\n"


def _exceptions(rows):
    parts = ["## Every cell that is not complete\n"]
    for reason in sorted({row["reason"] for row in rows if row["reason"]}):
        chosen = [row for row in rows if row["reason"] == reason]
        parts.append(f"### `{reason}`: {WORDS.get(reason, reason)} ({len(chosen)} cells)\n")
        cells = Counter((row["network"], row["place"], row["detail"]) for row in chosen)
        parts.append("| network | place | in words |\n|---|---|---|")
        parts += [f"| {network} | `{place}` | {detail.replace('|', '/')} |" for network, place, detail in sorted(cells)]
        parts.append("")
    return "\n".join(parts)
