"""`surgeon plan`: every site that attention would go to."""

from __future__ import annotations

import surgeon
from surgeon.cli import drawing, screen
from surgeon.cli import options as o
from surgeon.cli.source import opened, where_of
from surgeon.sites import DEFAULT_INIT


def plan(
    source: o.SOURCE,
    attention: o.ATTENTION,
    where: o.WHERE = None,
    replace: o.REPLACE = False,
    setting: o.SET = None,
    init: o.INIT = DEFAULT_INIT,
    budget: o.BUDGET = None,
    rules: o.RULES = None,
    example: o.EXAMPLE = None,
    arch: o.ARCH = None,
    weights: o.WEIGHTS = None,
    num_classes: o.CLASSES = None,
    arg: o.ARGUMENTS = None,
    allow_pickle: o.PICKLE = False,
    allow_imports: o.IMPORTS = False,
    html: o.HTML = None,
    svg: o.SVG = None,
    measure: o.MEASURE = False,
    force: o.FORCE = False,
    as_json: o.JSON = False,
    quiet: o.QUIET = False,
) -> None:
    """Every site that attention would go to, and what it costs there. Changes nothing.

    Example: `surgeon plan timm:convnext_tiny --attention cbam --where residual --set reduction=8`

    To look at it, and to choose among the sites: `surgeon plan torchvision:resnet50 --attention cbam --html plan.html`

    With what it takes on this machine: `surgeon plan torchvision:resnet50 --attention cbam --html plan.html --measure`
    """
    drawing.refuse_targets(html, svg, force=force, measure=measure)
    loaded = opened(
        source,
        arch=arch,
        weights=weights,
        num_classes=num_classes,
        arg=arg,
        allow_pickle=allow_pickle,
        allow_imports=allow_imports,
        example=example,
    )
    plan = surgeon.plan(
        loaded.model,
        attention,
        where=where_of(where),
        replace=replace,
        init=init,
        budget=o.pairs(budget, "--budget") or None,
        rules=rules,
        example_inputs=loaded.example,
        **o.pairs(setting, "--set"),
    )
    again = {"--example": example, "--arch": arch, "--weights": weights, "--num-classes": num_classes, "--arg": arg}
    switches = {"--allow-pickle": allow_pickle, "--allow-imports": allow_imports}
    if html or svg:
        measures = drawing.measured(loaded, plan, quiet=quiet or as_json) if measure else None
        drawing.write_plan(
            loaded, plan, source, again | switches, html=html, svg=svg, rules=rules, force=force, measures=measures
        )
    if as_json:
        return screen.dump({"source": loaded.description} | plan.to_dict())
    if not quiet:
        screen.sites(plan, sum(weight.numel() for weight in loaded.model.parameters()))
        drawing.told(html, svg)
