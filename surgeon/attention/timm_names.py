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
    """timm's class for `timm:NAME`, whatever names the installed release has."""
    from timm.layers import get_attn

    try:
        found = get_attn(name.removeprefix("timm:"))
    except AssertionError:
        found = None
    if found is None:
        raise UnknownName(f"unknown attention {name!r}. {suggest(name, TIMM)}")
    return found
