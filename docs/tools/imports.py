"""Who imports whom in surgeon, read from the source texts: for the drawing of the rooms, and for its test."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "surgeon"
FILES = sorted(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))

# The rooms from the ground up: each may import itself and what stands above it in this list.
ORDER = (
    *("errors", "outside", "version", "paths", "sites"),
    *("attention", "trace", "forward", "anatomy"),
    *("checkpoints", "networks", "rulebook", "surgery"),
    *("operation", "programs", "samples", "files", "pages", "__init__", "cli"),
)


def text_of(file: str) -> str:
    """The source of one of FILES."""
    return (PACKAGE / f"{file}.py").read_text(encoding="utf-8")


@cache
def imported(text: str) -> tuple[str, ...]:
    """Dotted names of all that a source text imports, wherever in it."""
    return tuple(_imported(ast.parse(text)))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(name: str) -> str | None:
    """The file of surgeon's that a dotted name lies in; None of what is somebody else's.

    >>> file_of("surgeon.trace.recorder.observe"), file_of("surgeon.attention"), file_of("torch.nn")
    ('trace/recorder', 'attention/__init__', None)
    """
    head, *parts = name.split(".")
    if head != "surgeon":
        return None
    for count in range(len(parts), 0, -1):
        path = "/".join(parts[:count])
        for file in (path, f"{path}/__init__"):
            if file in FILES:
                return file
    return "__init__"


def room_of(file: str) -> str:
    """The room that a file lies in; a file at the top is a room of its own.

    >>> room_of("trace/recorder"), room_of("operation")
    ('trace', 'operation')
    """
    return file.partition("/")[0]


def imports_of(file: str, text: str) -> list[str]:
    """The files of surgeon's that `text`, the source of `file`, imports."""
    found = (file_of(name) for name in imported(text))
    return [other for other in found if other is not None]


def rooms() -> dict[str, set[str]]:
    """Room -> the other rooms that its files import, in order from the ground up."""
    found: dict[str, set[str]] = {room: set() for room in ORDER}
    found["__init__"] = _public()
    for file in FILES:
        found[room_of(file)] |= {room_of(other) for other in imports_of(file, text_of(file))}
    return {room: others - {room} for room, others in found.items()}


def _public() -> set[str]:
    """The rooms that surgeon's public names come from, as its stub lists them."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    lines = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {(node.module or node.names[0].name).partition(".")[0] for node in lines}
