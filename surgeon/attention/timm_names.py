"""The attention layers of timm, as `timm:NAME`; the names are those of its `create_attn`."""

from surgeon.errors import UnknownName, suggest

# timm keeps these names in the branches of one function and lists them nowhere.
TIMM = tuple(
    f"timm:{name}"
    for name in (
        "se ese eca ecam ceca ge gc gca cbam lcbam coord scoord ela strip"
        " sk splat lambda bottleneck halo nl bat"
    ).split()
)


def factory_of(name):
    """timm's class for `timm:NAME`."""
    from timm.layers import get_attn

    if name not in TIMM:
        raise UnknownName(f"unknown attention {name!r}. {suggest(name, TIMM)}")
    return get_attn(name.removeprefix("timm:"))
