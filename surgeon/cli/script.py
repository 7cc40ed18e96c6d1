"""`surgeon run`: somebody's script as it is, in a process in which surgeon is imported."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from surgeon.cli import options as o
from surgeon.errors import BadOption

SCRIPT = Annotated[list[str] | None, o.argument("The script and its own arguments.", metavar="SCRIPT [ARGUMENTS]...")]


def run(script: SCRIPT = None) -> None:
    """Run a training script unchanged, so that it opens folders that surgeon wrote.

    timm's scripts build any network by its name, and `local-dir:FOLDER` names a folder; one with attention opens once
    surgeon is imported, which this does first. All that follows the script is the script's own.

    Example: `surgeon run train.py --model local-dir:resnet50_cbam --pretrained DATA`

    On several devices: `torchrun --nproc-per-node 8 -m surgeon.cli run train.py --model local-dir:resnet50_cbam DATA`
    """
    raise BadOption("surgeon run needs a script: surgeon run train.py --model local-dir:FOLDER ...")


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether these arguments of the command run a script; its own help and errors are the command's."""
    return len(arguments) > 1 and arguments[0] == "run" and arguments[1] != "--help"


def execute(script: str, arguments: Sequence[str]) -> None:
    """Run `script` as `python SCRIPT ARGUMENTS` would; what it raises, and how it exits, is its own."""
    if not Path(script).is_file():
        raise BadOption(f"there is no script {script}.")
    sys.argv = [script, *arguments]
    # Where `python SCRIPT` looks for what lies beside it.
    sys.path[0] = str(Path(script).resolve().parent)
    runpy.run_path(script, run_name="__main__")
