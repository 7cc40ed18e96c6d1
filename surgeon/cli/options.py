"""Options that several commands share, and the values that users type for them."""

import json
from typing import Annotated, Optional

import typer

from surgeon.errors import BadOption

SOURCE = Annotated[str, typer.Argument(help="torchvision:NAME, timm:NAME, package.module:Class, a checkpoint, a timm folder, a .pt2, or a file of surgeon's.", show_default=False)]
FILE = Annotated[str, typer.Argument(help="A file or folder that surgeon wrote.", show_default=False)]
ARCH = Annotated[Optional[str], typer.Option(help="The network of a checkpoint that does not name it: torchvision:NAME, timm:NAME or package.module:Class.", show_default=False)]
WEIGHTS = Annotated[Optional[str], typer.Option(help="A checkpoint with the weights of a named network.", show_default=False)]
PRETRAINED = Annotated[bool, typer.Option("--pretrained", help="The library's own weights, downloaded if need be.")]
PUBLISHED = Annotated[Optional[str], typer.Option(metavar="FILE", help="Weights of the whole network, trained attention among them: the authors' CBAM and BAM, timm's.", show_default=False)]
CLASSES = Annotated[Optional[int], typer.Option("--num-classes", min=1, help="Size of the head; read from the weights where there are any.", show_default=False)]
ARGUMENTS = Annotated[Optional[list[str]], typer.Option("--arg", metavar="KEY=VALUE", help="For the network's constructor; may be repeated.", show_default=False)]
ATTENTION = Annotated[str, typer.Option(help="cbam, bam, se, eca, timm:NAME or package.module:Class.", show_default=False)]
WHERE = Annotated[Optional[list[str]], typer.Option(help="A place (residual, bottleneck, final, input), a glob over module paths, or a rule file; may be repeated. [default: residual]", show_default=False)]
SET = Annotated[Optional[list[str]], typer.Option("--set", metavar="KEY=VALUE", help="For the attention, such as reduction=8; may be repeated.", show_default=False)]
INIT = Annotated[str, typer.Option(help="identity: the outputs stay the same, bit for bit. paper: as published.")]
RULES = Annotated[Optional[list[str]], typer.Option(help="One more folder of rules; may be repeated.", show_default=False)]
OUTPUT = Annotated[str, typer.Option("--output", "-o", help="Its ending chooses the format: .safetensors, .pth, .pt2, .onnx, none for a timm folder.", show_default=False)]
FORMAT = Annotated[Optional[str], typer.Option(help="The format, whatever the ending: safetensors, pth, folder, pt2, onnx.", show_default=False)]
FORCE = Annotated[bool, typer.Option("--force", help="Replace an output that exists.")]
PICKLE = Annotated[bool, typer.Option("--allow-pickle", help="Read pickled objects, and .pt2 files that are more than plain programs. This may run code from the file.")]
IMPORTS = Annotated[bool, typer.Option("--allow-imports", help="Import the network or the attention of somebody's own that the file names. This runs its code.")]
EMA = Annotated[bool, typer.Option("--ema", help="Take the averaged weights of a file that has both.")]
DROP = Annotated[bool, typer.Option("--drop-optimizer", help="Leave the optimizer's state out of the new checkpoint.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def pairs(texts, option):
    """`["reduction=8", "branches=channel"]` as `{"reduction": 8, "branches": "channel"}`: values are JSON where they can be.

    Raises:
        BadOption: one without `=`.
    """
    found = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadOption(f"{option} {text}: write key=value, such as {'reduction=8' if option == '--set' else 'in_chans=1'}.")
        found[key.strip()] = _value(value.strip())
    return found


def _value(text):
    # Python's spelling of these three is what people type.
    spelled = {"True": "true", "False": "false", "None": "null"}.get(text, text)
    try:
        return json.loads(spelled)
    except (ValueError, RecursionError):
        return text
