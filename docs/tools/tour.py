"""What `surgeon tour` shows, as a picture: `python -m docs.tools.tour` takes the tour and writes docs/tour.svg anew."""

import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path
from textwrap import fill

from rich.console import Console
from rich.text import Text

TARGET = Path(__file__).parents[1] / "tour.svg"
WIDTH = 112


def picture(shown: str) -> str:
    """The lines that a tour printed, as the SVG of a terminal."""
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(Text("$ surgeon tour", style="bold"))
    for line in shown.splitlines():
        style = "dim" if line.startswith("   $") else "bold" if line[:1].isdigit() else ""
        console.print(Text(fill(line, WIDTH, subsequent_indent="   "), style=style))
    return console.export_svg(title="surgeon tour", unique_id="tour")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "surgeon.cli", "tour", "--output", "surgeon-tour"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    TARGET.write_text(picture(done.stdout), encoding="utf-8")
