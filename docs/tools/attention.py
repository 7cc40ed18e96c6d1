"""The page on attention modules, made from the modules themselves.

`python -m docs.tools.attention > docs/attention.md` writes it anew.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

from surgeon.attention.building import build
from surgeon.attention.naming import TIMM, options_of
from surgeon.attention.probing import cost
from surgeon.attention.table import TABLE

HEAD = """\
# Attention modules

Made from the code by `python -m docs.tools.attention`; edit the docstrings in `surgeon/attention/`, not this page.

Every module takes a feature map `x` of any size and returns one of the same shape. Weights are counted without gammas,
for 256 channels; multiply-adds are for one map of 256 x 56 x 56.

## Starts

What each does to a published factor `sigmoid(z)`:

- `init="eager"`, the default: `2 * sigmoid(10 * z)`, with the layer that `z` comes from at zero. The network gives the
  same bits as before until it is trained, and the layer learns from the first step on, at the network's own rate.
- `init="neutral"`: `2 * sigmoid(z)`. The same, and slow: it wants ten times the network's rate.
- `init="identity"`: `1 + gamma * (sigmoid(z) - 1)`, with a learned `gamma` that starts at 0. The same bits; at usual
  rates it hardly opens, and the inside learns only as far as it has.
- `init="paper"`: `sigmoid(z)`, the published module and its initialisation. The network loses accuracy at first.

The constants 2 (`gain`) and 10 (`slope`) are buffers. With both at 1, or with `gamma` at 1, it is the published module,
and so `surgeon.load_published` sets them. BAM, whose published factor is `1 + sigmoid(z)`, starts with the factors of
the others, and comes to its own at a gain and a slope of 1. Where attention helped, and where not: [starts](starts.md).
"""

# Forms that papers and libraries are known for: what it is, the name to ask for, its options.
FORMS: list[tuple[str, str, dict[str, Any]]] = [
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
as `x + gamma * (layer(x) - x)`, with all exact starts. One that the installed timm can't build, or that does not
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


@dataclass(frozen=True)
class Docstring:
    """A module's docstring, taken apart.

    opening: what stands before the first section.
    arguments: name -> meaning, from the section `Args`.
    sections: name -> text of the others, such as `Source`.
    """

    opening: str
    arguments: dict[str, str]
    sections: dict[str, str]


def page() -> str:
    """The whole page, as Markdown."""
    names = ", ".join(f"`{name}`" for name in TIMM)
    forms = "\n".join(f"| {form} | `{name}` | {_text(options)} |" for form, name, options in FORMS)
    return "\n".join([HEAD, *(_section(name) for name in TABLE), TAIL.format(names=names, forms=forms)])


def parsed(text: str) -> Docstring:
    """The Docstring that `text` is, each part of it on one line.

    >>> parsed("Adds.\\n\\nArgs:\\n    n: how many\\n        of them.\\n\\nSource: a book.")
    Docstring(opening='Adds.', arguments={'n': 'how many of them.'}, sections={'Source': 'a book.'})
    """
    opening, sections = _split(r"^([A-Z]\w+): *", text)
    _, arguments = _split(r"^    (\w+): ", sections.pop("Args", ""))
    return Docstring(
        _one_line(opening),
        {name: _one_line(meaning) for name, meaning in arguments.items()},
        {name: _one_line(body) for name, body in sections.items()},
    )


def _split(heading: str, text: str) -> tuple[str, dict[str, str]]:
    """(what stands before the first heading, name of each heading -> what follows it)."""
    opening, *rest = re.split(heading, text, flags=re.MULTILINE)
    return opening, dict(zip(rest[::2], rest[1::2]))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _section(name: str) -> str:
    """What the page says of one module."""
    docstring = parsed(getdoc(TABLE[name]) or "")
    price = cost(build(name, 256, init="paper"), (256, 56, 56))
    lines = [f"## {name}", "", docstring.opening, ""]
    lines += [f"- **Weights**: {price.parameters:,}; multiply-adds: {price.macs:,}."]
    lines += [f"- **{part}**: {docstring.sections[part]}" for part in ("Start", "Cost", "Source")]
    lines += ["", "| option | default | meaning |", "|---|---|---|"]
    for option, default in (options_of(name) or {}).items():
        lines.append(f"| `{option}` | `{default}` | {docstring.arguments[option]} |")
    return "\n".join([*lines, ""])


def _text(options: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}={value!r}`" for name, value in options.items()) or "the defaults"


if __name__ == "__main__":
    print(page(), end="")
