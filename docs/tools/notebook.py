"""The tutorial as a notebook: `python -m docs.tools.notebook` makes examples/tutorial.ipynb of docs/tutorial.md."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCE, TARGET = ROOT / "docs" / "tutorial.md", ROOT / "examples" / "tutorial.ipynb"


def notebook() -> str:
    """The notebook as JSON: a cell for each block of Python, and for each text between two of them."""
    parts = re.split(r"```python\n(.*?)```", SOURCE.read_text(encoding="utf-8"), flags=re.DOTALL)
    cells = [_cell(number, part.strip(), is_code=number % 2 == 1) for number, part in enumerate(parts) if part.strip()]
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    data = {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _cell(number: int, text: str, *, is_code: bool) -> dict[str, Any]:
    # Links and pictures of the page lie in docs, beside this folder.
    text = text if is_code else re.sub(r"\]\((?!http)", "](../docs/", text)
    cell = {"cell_type": "code" if is_code else "markdown", "id": f"part-{number}", "metadata": {}}
    lines = (_shown(text) if is_code else text).splitlines(keepends=True)
    return cell | ({"execution_count": None, "outputs": []} if is_code else {}) | {"source": lines}


def _shown(text: str) -> str:
    """A plan or a report that is printed at the end of a cell shows itself."""
    return re.sub(
        r"^print\((plan|surgeon\.report\(model\))\)$(?=\n*\Z|\npage)", r"display(\1)", text, flags=re.MULTILINE
    )


if __name__ == "__main__":
    TARGET.write_text(notebook(), encoding="utf-8")
