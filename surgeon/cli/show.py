"""`surgeon show`: what a file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from surgeon import files
from surgeon.cli import drawing, screen
from surgeon.cli import options as o
from surgeon.files.label import read_label
from surgeon.sites import opened_in_words

if TYPE_CHECKING:
    from surgeon.files.label import Label
    from surgeon.networks.blueprint import Base
    from surgeon.sites import Plan

# More settings than this are only counted.
MOST_SETTINGS = 3


def show(
    file: o.FILE,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    html: o.HTML = None,
    svg: o.SVG = None,
    measure: o.MEASURE = False,
    force: o.FORCE = False,
    as_json: o.JSON = False,
    quiet: o.QUIET = False,
) -> None:
    """What a file is: its network, its attention, and what it was made from. Builds nothing, runs nothing.

    Example: `surgeon show resnet50_cbam.safetensors`

    To look at it, the network is built, and runs on shapes alone: `surgeon show resnet50_cbam.safetensors
    --html page.html`; with --measure it is loaded in full, and runs.
    """
    drawing.refuse_targets(html, svg, force=force, measure=measure)
    label = read_label(file, allow_pickle=allow_pickle)
    facts, plans = _facts(label), label.recipe.operations
    if html or svg:
        measures = None
        if measure:
            loaded = files.intake.open_source(file, allow_pickle=allow_pickle, allow_imports=allow_imports)
            measures = drawing.measured(loaded, None, quiet=quiet or as_json)
        drawing.write_file(label, file, allow_imports=allow_imports, html=html, svg=svg, force=force, measures=measures)
    if as_json:
        return screen.dump(facts | {"plans": [plan.to_dict() for plan in plans]})
    if not quiet:
        screen.facts(facts, title=str(file))
        for plan in plans:
            screen.sites(plan, label.recipe.parameters or 0)
        drawing.told(html, svg)


def _facts(label: Label) -> dict[str, Any]:
    recipe, attention = label.recipe, label.attention
    is_delta = len(attention) == len(label.tensors)
    return {
        "base": _base(recipe.base),
        **_settings(recipe.base.settings),
        "attention": "; ".join(map(_operation, recipe.operations)),
        "holds": "attention alone (a delta)" if is_delta else "the whole network",
        **({"parameters": recipe.parameters} if recipe.parameters is not None else {}),
        "parameters of the attention": sum(site.parameters or 0 for plan in recipe.operations for site in plan),
        **({"opened": opened_in_words(recipe.opened)} if recipe.opened else {}),
        "bytes": sum(entry.nbytes for entry in label.tensors.values()),
        **_folded(recipe.settings),
        **({"runs on": str(recipe.example)} if recipe.example else {}),
        "made with": ", ".join(f"{name} {version}" for name, version in recipe.versions.items()),
        "SHA-256 of the base": recipe.sha256,
    }


def _folded(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Said of files that `surgeon fold` wrote."""
    is_folded = any(values.get("folded") for values in settings.values())
    return {"folded": "for deployment: norms inside layers, nothing left to train"} if is_folded else {}


def _base(base: Base) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in base.arguments.items())
    return f"{base}({arguments})" if arguments else str(base)


def _operation(plan: Plan) -> str:
    return f"{plan.attention} at {len(plan)} sites, init {plan.init}"


def _settings(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What was set otherwise than the library does; nothing to say of most networks."""
    listed = []
    for path, values in settings.items():
        listed += [f"{path}.{name}".lstrip(".") + f"={value}" for name, value in values.items()]
    if not listed:
        return {}
    more = f" and {len(listed) - MOST_SETTINGS} more" if len(listed) > MOST_SETTINGS else ""
    return {"set otherwise": ", ".join(listed[:MOST_SETTINGS]) + more}
