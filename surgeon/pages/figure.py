"""The drawing of a network alone, as SVG: a row for each stage."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from surgeon.pages.glyph import Glyph, glyph
from surgeon.pages.words import kinds, scale, zoom

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from surgeon.pages.sketch import Sketch, Stage

# Names stand on the left, shapes on the right, the drawing between them.
WIDTH, NAMES, SHAPES, MARGIN, ROW, LEAST = 960, 222, 150, 16, 14, 34
STYLE = """
text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); }
.small { font-size: 11px; fill: var(--faint); }
.name { font-weight: 600; } .end { text-anchor: end; } .rule { stroke: var(--rule); }
"""


def figure(sketch: Sketch) -> str:
    """The drawing of a network, light and dark, as wide as a page."""
    y, parts = MARGIN, []
    for stage in sketch.stages:
        height, row = _row(stage, y)
        parts += row
        y += height + ROW
        parts.append(f'<path class="rule" d="M{MARGIN} {y - ROW / 2:g}H{WIDTH - MARGIN}"/>')
    size = f'viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}"'
    title = escape(f"{sketch.name} with attention at {_sites(len(sketch.marks)) or '0 sites'}")
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{title}</title>'
    return "\n".join([head, f"<style>{_style()}</style>", *parts[:-1], "</svg>"]) + "\n"


def _style() -> str:
    """The colours of pages, and how drawings use them."""
    parts = [files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("colours.css", "glyph.css")]
    return "".join([*parts, STYLE])


def _row(stage: Stage, y: int) -> tuple[int, list[str]]:
    """(how high it is, the row of one stage)"""
    size = zoom(stage)
    lines = [*_lines([glyph(box, scale=scale(stage)) for box in stage.boxes], size)]
    needed = sum(_height(line, size) for line in lines)
    height = max(LEAST, needed)
    drawn, top = [], y + (height - needed) / 2
    for line in lines:
        drawn += _placed(line, top, size)
        top += _height(line, size)
    return round(height), [*_texts(stage, y + round(height / 2)), *drawn]


def _texts(stage: Stage, middle: int) -> list[str]:
    return [
        _text(MARGIN, middle - 3, _shortened(stage.name, 26), "name"),
        _text(MARGIN, middle + 13, _shortened(kinds(stage), 33), "small"),
        _text(WIDTH - MARGIN, middle - 3, stage.shape, "end"),
        _text(WIDTH - MARGIN, middle + 13, _sites(len(stage.marks)), "small end"),
    ]


def _sites(count: int) -> str:
    return f"{count:,} site{'s' * (count > 1)}" if count else ""


def _height(line: Sequence[Glyph], size: float) -> float:
    return (line[0].height + 4) * size


def _lines(glyphs: Sequence[Glyph], size: float) -> Iterator[list[Glyph]]:
    """The drawings of a stage, in as many lines as they need."""
    line: list[Glyph] = []
    room = (WIDTH - NAMES - SHAPES - 2 * MARGIN) / size
    for one in glyphs:
        if line and sum(other.width for other in line) + one.width > room:
            yield line
            line = []
        line.append(one)
    yield line


def _placed(line: Sequence[Glyph], y: float, size: float) -> list[str]:
    """The drawings of one line, side by side."""
    x, parts = 0, []
    for one in line:
        parts.append(f'<g transform="translate({x} 0)">{one.svg}</g>')
        x += one.width
    scaled = f" scale({size:.3g})" if size < 1 else ""
    return [f'<g transform="translate({MARGIN + NAMES} {y:g}){scaled}">{"".join(parts)}</g>']


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>' if text else ""
