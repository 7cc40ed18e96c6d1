"""A residual block before and after `surgeon.inject`: `python -m docs.tools.block` writes docs/block.svg anew."""

from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).parents[1] / "block.svg"
STEP, WIDTH, HEIGHT, TOP = 56, 210, 34, 88
BEFORE = ("conv1 · bn1 · relu", "conv2 · bn2")
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1c2733; text-anchor: middle; }
.head { font-size: 15px; font-weight: 600; }
.small { font-size: 11px; fill: #5b6b7a; }
.box { fill: #f4f7fa; stroke: #9fb3c8; } .new { fill: #e3f0e8; stroke: #3f8f62; }
.line { fill: none; stroke: #6b7c8d; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4ebf2; } .small { fill: #9fb0c0; } .box { fill: #1d2833; stroke: #4a6076; }
  .new { fill: #1f3329; stroke: #5fb386; } .line { stroke: #8fa1b3; }
}
"""


def drawing() -> str:
    """Both blocks side by side, as SVG."""
    width, height = 720, TOP + 4 * STEP + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' role="img">',
        f"<title>A residual block before and after surgeon.inject</title><style>{STYLE}</style>",
        *_block(180, "before", BEFORE),
        *_block(520, 'after surgeon.inject(model, "cbam")', (*BEFORE, "CBAM")),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _block(x: int, title: str, boxes: tuple[str, ...]) -> list[str]:
    """One block around the middle `x`: the branch downwards, its shortcut on the right, the sum at the foot."""
    foot, right = TOP + 3 * STEP + 6, x + WIDTH // 2 + 35
    parts = [
        _text(x, 30, title, "head"),
        _text(x, 54, "a map, 64 x 56 x 56", "small"),
        f'<path class="line" d="M{x} 60V{foot}"/>',
        f'<path class="line" d="M{x} 72H{right}V{foot + 12}H{x + 12}"/>',
        _text(right + 8, TOP + STEP + 24, "shortcut", "small", turned=True),
    ]
    for number, name in enumerate(boxes):
        parts += _box(x, TOP + STEP * number, name, is_new=name not in BEFORE)
    return [
        *parts,
        f'<circle class="box" cx="{x}" cy="{foot + 12}" r="12"/>',
        _text(x, foot + 17, "+"),
        f'<path class="line" d="M{x} {foot + 24}v20"/>',
        _text(x, foot + 62, "relu"),
    ]


def _box(x: int, y: int, name: str, *, is_new: bool) -> list[str]:
    kind, height = ("new", HEIGHT + 12) if is_new else ("box", HEIGHT)
    box = f'<rect class="{kind}" x="{x - WIDTH // 2}" y="{y}" width="{WIDTH}" height="{height}" rx="6"/>'
    if not is_new:
        return [box, _text(x, y + 22, name)]
    formula = "factors 2σ(10 z), each 1 at first"
    return [box, _text(x, y + 18, name), _text(x, y + 36, formula, "small")]


def _text(x: int, y: int, text: str, kind: str = "", *, turned: bool = False) -> str:
    rotation = f' transform="rotate(90 {x} {y})"' if turned else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x}" y="{y}"{rotation}>{escape(text)}</text>'


if __name__ == "__main__":
    TARGET.write_text(drawing(), encoding="utf-8")
