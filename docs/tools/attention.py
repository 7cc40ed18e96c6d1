"""The page on attention modules, made from the modules themselves.

`python -m docs.tools.attention > docs/attention.md` writes it anew.
"""

import re
from inspect import getdoc

from surgeon.attention.building import build
from surgeon.attention.naming import TIMM, options_of
from surgeon.attention.probing import cost
from surgeon.attention.table import TABLE

HEAD = """\
# Attention modules

Made from the code by `python -m docs.tools.attention`; edit the docstrings in `surgeon/attention/`, not this page.

Every module takes a feature map `x` of any size and returns one of the same shape. With `init="identity"`, the
default, each published factor `s` acts as `1 + gamma * (s - 1)` with a learned `gamma` that starts at 0: the network
gives the same bits as before until it is trained, and at gamma 1 it is the published module. With `init="neutral"` the
network gives the same bits too: the last layers start at zero, and a constant `gain` of 2 makes 1 of the sigmoid's one
half. They learn from the first step on, with no gamma in front; at gain 1 it is the published module. With
`init="paper"` it is the published module and its initialisation, without gamma or gain. Weights are counted without
gammas, for 256 channels; multiply-adds are for one map of 256 x 56 x 56.
"""

# Forms that papers and libraries are known by, and how to ask for them.
FORMS = [
    ("CBAM, the official code and its weights", "cbam", {}),
    ("CBAM as in timm", "cbam", {"bias": False, "maps": ("mean", "max")}),
    ("channel attention alone, without reduction", "cbam", {"branches": "channel", "reduction": 1}),
    ("CBAM with a 3 x 3 convolution", "cbam", {"kernel_size": 3}),
    ("CBAM with a 1 x 1 convolution for its spatial pooling", "cbam", {"maps": "conv"}),
    ("BAM, the official code and its weights", "bam", {}),
    ("BAM as in its paper", "bam", {"form": "paper"}),
    ("SE as in its paper", "se", {}),
    ("SE as in timm's ResNet-18 and 34", "se", {"divisor": 8}),
    ("ECA as in its paper and in timm", "eca", {}),
]

TAIL = """\
## Known forms

| form | name | options |
|---|---|---|
{forms}

## timm's

`timm:NAME` takes any layer of timm's `create_attn` that keeps the shape, with timm's own options. At the start it acts
as `x + gamma * (layer(x) - x)`, with `init="neutral"` too. One that the installed timm can't build, or that does not
fit the maps of a site, is refused when the operation is planned, with timm's own words. Names: {names}.

## Your own

A class or callable `channels -> Module`, an import path `package.module:Class`, or a name made known by
`surgeon.register(name, factory)`. It starts as timm's do. A module that changes shape, dtype or device, or changes its
input in place, is refused when the operation is planned.

## Modules for images, at videos and sequences

surgeon's own work on sequences, images and video alike. A module from elsewhere gets the maps as they are, channels
first, where it runs on them, and takes a whole video then. timm's, and most others, run on images alone: these get the
frames of a video as images of one batch, so that no frame knows of another, and a sequence as one column of pixels.
Windows of tokens are images of one batch as well, to every module. Class and register tokens stay out of it.
"""


def page():
    """The whole page, as Markdown."""
    names = ", ".join(f"`{name}`" for name in TIMM)
    forms = "\n".join(f"| {form} | `{name}` | {_text(options)} |" for form, name, options in FORMS)
    return "\n".join([HEAD, *(_section(name) for name in TABLE), TAIL.format(names=names, forms=forms)])


def sections(text):
    """A docstring as `{"": opening, "Args": ..., "Source": ...}`, each on one line but Args.

    >>> sections("Adds.\\n\\nArgs:\\n    n: how many\\n        of them.\\n\\nSource: a book.")
    {'': 'Adds.', 'Args': {'n': 'how many of them.'}, 'Source': 'a book.'}
    """
    parts = re.split(r"^([A-Z]\w+): *", text, flags=re.MULTILINE)
    found = {name: " ".join(body.split()) for name, body in zip(["", *parts[1::2]], parts[::2])}
    if "Args" in found:
        entries = re.split(r"^    (\w+): ", parts[parts.index("Args") + 1], flags=re.MULTILINE)
        found["Args"] = {name: " ".join(body.split()) for name, body in zip(entries[1::2], entries[2::2])}
    return found


def _section(name):
    text = sections(getdoc(TABLE[name]))
    price = cost(build(name, 256, init="paper"), (256, 56, 56))
    rows = [f"| `{key}` | `{value}` | {text['Args'][key]} |" for key, value in options_of(name).items()]
    return "\n".join(
        [f"## {name}", "", text[""], "", f"- **Weights**: {price.parameters:,}; multiply-adds: {price.macs:,}."]
        + [f"- **{part}**: {text[part]}" for part in ("Start", "Cost", "Source")]
        + ["", "| option | default | meaning |", "|---|---|---|", *rows, ""]
    )


def _text(options):
    return ", ".join(f"`{name}={value!r}`" for name, value in options.items()) or "the defaults"


if __name__ == "__main__":
    print(page(), end="")
