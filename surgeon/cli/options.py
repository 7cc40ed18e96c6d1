"""Options that several commands share, and the values that users type for them."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from surgeon.errors import BadOption
from surgeon.sites import DEFAULT_INIT


def argument(help: str, **settings: Any) -> Any:
    """A positional argument; there is no default that the help could show."""
    return typer.Argument(help=help, show_default=False, **settings)


def option(*names: str, help: str, **settings: Any) -> Any:
    """An option with a value; left out, it has none, so that there is no default that the help could show."""
    return typer.Option(*names, help=help, show_default=False, **settings)


def switch(name: str, *short: str, help: str) -> Any:
    """An option without a value."""
    return typer.Option(name, *short, help=help)


# What a command works on.
SOURCE = Annotated[
    str,
    argument(
        "torchvision:NAME, timm:NAME, sample:digits, package.module:Class, a checkpoint, a timm folder, a .pt2, "
        "or a file of surgeon's."
    ),
]
FILE = Annotated[str, argument("A file or folder that surgeon wrote.")]
ARCH = Annotated[
    str | None,
    option(
        help="The network of a checkpoint that does not name it: torchvision:NAME, timm:NAME or package.module:Class."
    ),
]
WEIGHTS = Annotated[str | None, option(help="A checkpoint with the weights of a named network.")]
PRETRAINED = Annotated[bool, switch("--pretrained", help="The library's own weights, downloaded if need be.")]
PUBLISHED = Annotated[
    str | None,
    option(
        metavar="FILE",
        help="Weights of the whole network, trained attention among them: the authors' CBAM and BAM, timm's.",
    ),
]
CLASSES = Annotated[
    int | None, option("--num-classes", min=1, help="Size of the head; read from the weights where there are any.")
]
ARGUMENTS = Annotated[
    list[str] | None, option("--arg", metavar="KEY=VALUE", help="For the network's constructor; may be repeated.")
]
EMA = Annotated[bool, switch("--ema", help="Take the averaged weights of a file that has both.")]
PICKLE = Annotated[
    bool,
    switch(
        "--allow-pickle",
        help="Read pickled objects, and .pt2 files that are more than plain programs. This may run code from the file.",
    ),
]
IMPORTS = Annotated[
    bool,
    switch(
        "--allow-imports",
        help="Import the network or the attention of somebody's own that the file names. This runs its code.",
    ),
]

# What is put where.
ATTENTION = Annotated[str, option(help="cbam, bam, se, eca, timm:NAME or package.module:Class.")]
ATTENTION_OR_PLAN = Annotated[
    str | None, option("--attention", help="cbam, bam, se, eca, timm:NAME or package.module:Class.")
]
PLAN = Annotated[
    str | None,
    option(
        "--plan",
        metavar="FILE",
        help="A plan, as `surgeon plan --json` prints it and its page saves it, in place of --attention and --where.",
    ),
]
WHERE = Annotated[
    list[str] | None,
    option(
        help="A place (residual, bottleneck, final, input, gate), the path of a module or a glob over paths, "
        "a class of modules, or a rule file; may be repeated. [default: residual]"
    ),
]
REPLACE = Annotated[
    bool,
    switch("--replace", help="Put attention in the place of the modules that --where means, such as --where gate."),
]
SET = Annotated[
    list[str] | None,
    option("--set", metavar="KEY=VALUE", help="For the attention, such as reduction=8; may be repeated."),
]
STARTS = (
    "eager, neutral, identity: the outputs stay the same, bit for bit, until it is trained, and eager learns "
    "fastest. paper: as published."
)
INIT = Annotated[str, typer.Option(help=STARTS)]
INIT_OR_PLAN = Annotated[str | None, typer.Option("--init", show_default=DEFAULT_INIT, help=STARTS)]
EXAMPLE = Annotated[
    str | None,
    option(
        metavar="TEXT|FILE",
        help="What the network is called with, where surgeon can't guess it: 1x3x64x64, or "
        "'pixel_values=2x3x224x224 input_ids=2x7:int64', or a .pt, .npz or .safetensors with the tensors.",
    ),
]
BUDGET = Annotated[
    list[str] | None,
    option(
        "--budget",
        metavar="KEY=SHARE",
        help="Only the cheapest sites: macs=0.02 for two percent of the network's multiply-adds, or parameters=0.01.",
    ),
]
RULES = Annotated[list[str] | None, option(help="One more folder of rules; may be repeated.")]

# What is written, and what is printed.
OUTPUT = Annotated[
    str,
    option(
        "--output", "-o", help="Its ending chooses the format: .safetensors, .pth, .pt2, .onnx, none for a timm folder."
    ),
]
FORMAT = Annotated[str | None, option(help="The format, whatever the ending: safetensors, pth, folder, pt2, onnx.")]
HTML = Annotated[
    str | None, option("--html", metavar="FILE", help="Write it as a page as well: the network, its blocks, each site.")
]
MEASURE = Annotated[
    bool, switch("--measure", help="Run the network, and say on the page what attention takes here: time and memory.")
]
SVG = Annotated[str | None, option("--svg", metavar="FILE", help="Write the drawing of the network alone as well.")]
FORCE = Annotated[bool, switch("--force", help="Replace an output that exists.")]
DROP = Annotated[bool, switch("--drop-optimizer", help="Leave the optimizer's state out of the new checkpoint.")]
JSON = Annotated[bool, switch("--json", help="Print JSON instead of text.")]
QUIET = Annotated[bool, switch("--quiet", "-q", help="Print nothing but errors.")]

# What an option with KEY=VALUE may look like, for its error.
EXAMPLES = {"--set": "reduction=8", "--arg": "in_chans=1", "--budget": "macs=0.02"}


def pairs(texts: Iterable[str] | None, name: str) -> dict[str, Any]:
    """`["reduction=8", "branches=channel"]` as `{"reduction": 8, "branches": "channel"}`.

    A value that is valid JSON is read as JSON, any other as text.

    Args:
        name: the option that they were given to, `--set`, `--arg` or `--budget`.

    Raises:
        BadOption: one without `=`.
    """
    values = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadOption(f"{name} {text}: write key=value, such as {EXAMPLES[name]}.")
        values[key.strip()] = _value(value.strip())
    return values


def _value(text: str) -> Any:
    # Python's spelling of these three is what people type.
    spelled = {"True": "true", "False": "false", "None": "null"}.get(text, text)
    try:
        return json.loads(spelled)
    except (ValueError, RecursionError):
        return text
