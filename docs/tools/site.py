"""What mkdocs asks while it builds the site: README.md is its first page, CHANGELOG.md one of the last.

`mkdocs build` (pip install -e ".[docs]") writes it to build/site, and ends with an error at the first dead link.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# Files of the repository that pages are made of.
PAGES = {"index.md": "README.md", "changes.md": "CHANGELOG.md"}


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that lie outside of docs."""
    for name, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=inside(text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to files of the repository that are no pages lead nowhere on a site: their text stays."""
    return re.sub(r"\[([^]]*)\]\((?:\.\./|examples/)[^)]*\)", r"\1", markdown)


def inside(text: str) -> str:
    """A text from the root of the repository as it reads in docs."""
    return text.replace("](docs/", "](")
