"""The drawing of the rooms, made from the imports: `python -m docs.tools.rooms` writes docs/rooms.svg anew."""

import ast
from pathlib import Path
from textwrap import wrap
from xml.sax.saxutils import escape

from docs.tools.imports import FILES, ORDER, room_of, rooms, text_of

TARGET = Path(__file__).parents[1] / "rooms.svg"
LEFT, WIDTH, LINE, GAP = 20, 560, 16, 10
# Where the columns of the table of imports begin, and how far apart they are.
TABLE, STEP, TOP = LEFT + WIDTH + 30, 22, 130
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1c2733; } .name { font-weight: 600; font-size: 14px; }
.files { fill: #5b6b7a; font-size: 11px; } .head { font-size: 16px; font-weight: 600; }
.room { fill: #f4f7fa; stroke: #9fb3c8; } .front { fill: #e3f0e8; stroke: #74a889; }
.rule { stroke: #dde5ec; } .dot { fill: #2b6cb0; } .own { fill: #c3d0dc; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4ebf2; } .files { fill: #9fb0c0; } .room { fill: #1d2833; stroke: #4a6076; }
  .front { fill: #1f3329; stroke: #4d8064; } .rule { stroke: #31404e; } .dot { fill: #6cb2ff; } .own { fill: #4a6076; }
}
"""
# What a user's call or command enters first.
FRONT = {"operation", "files", "__init__", "cli"}


def drawing() -> str:
    """The rooms as SVG: the ground at the foot, and beside each room a dot for every room that it imports."""
    boxes, y = [], TOP
    for room in reversed(ORDER):
        lines = _lines(room)
        boxes.append((room, y, lines))
        y += LINE * len(lines) + 14 + GAP
    width, height = TABLE + STEP * len(ORDER) + 20, y + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' role="img">',
        f"<title>The rooms of surgeon and what they import</title><style>{STYLE}</style>",
        *_headings(),
        *(part for box in boxes for part in _box(*box)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _headings() -> list[str]:
    left = [
        _text(LEFT, 34, "The rooms of surgeon", "head"),
        _text(LEFT, 54, "A room imports rooms below it, never one above.", "files"),
    ]
    columns = []
    for number, room in enumerate(ORDER):
        x = TABLE + STEP * number + 6
        columns.append(f'<text x="{x}" y="{TOP - 8}" transform="rotate(-60 {x} {TOP - 8})">{_title(room)}</text>')
    return [*left, _text(LEFT, 70, "A dot: the room of this row imports the room of that column.", "files"), *columns]


def _box(room: str, y: int, lines: list[str]) -> list[str]:
    height = LINE * len(lines) + 14
    kind = "front" if room in FRONT else "room"
    texts = [
        _text(LEFT + 10, y + 19 + LINE * number, line, "files" if number else "name")
        for number, line in enumerate(lines)
    ]
    middle = y + height // 2
    rule = f'<line class="rule" x1="{LEFT + WIDTH}" x2="{TABLE + STEP * len(ORDER)}" y1="{middle}" y2="{middle}"/>'
    return [
        f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{WIDTH}" height="{height}" rx="6"/>',
        *texts,
        rule,
        *_dots(room, middle),
    ]


def _dots(room: str, y: int) -> list[str]:
    imports = rooms()[room]
    marks = [
        (number, "own" if other == room else "dot")
        for number, other in enumerate(ORDER)
        if other == room or other in imports
    ]
    return [
        f'<circle class="{kind}" cx="{TABLE + STEP * number + 6}" cy="{y}" r="{4 if kind == "own" else 5}"/>'
        for number, kind in marks
    ]


def _lines(room: str) -> list[str]:
    """The name of a room, what it is, and its files."""
    inside = [
        file.partition("/")[2]
        for file in FILES
        if room_of(file) == room and "/" in file and not file.endswith("__init__")
    ]
    about = (ast.get_docstring(ast.parse(text_of(f"{room}/__init__" if inside else room))) or "").splitlines()[0]
    return [_title(room), *wrap(about, 92), *wrap(", ".join(inside), 96)]


def _title(room: str) -> str:
    return "surgeon" if room == "__init__" else room


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'


if __name__ == "__main__":
    TARGET.write_text(drawing(), encoding="utf-8")
