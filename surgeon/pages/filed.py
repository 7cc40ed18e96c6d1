"""The sketch of what a file of surgeon's holds, from its recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from surgeon import networks, rulebook
from surgeon.anatomy.watch import observed
from surgeon.networks.blueprint import CODE, PROGRAM
from surgeon.pages.draw import draw, draw_alone, entries
from surgeon.trace.noise import resolved

if TYPE_CHECKING:
    from surgeon.files.recipe import Recipe
    from surgeon.pages.sketch import Sketch


def sketched(recipe: Recipe, *, allow_imports: bool = False) -> Sketch:
    """The network of a recipe with its attention; the sites alone where the recipe can't build it.

    Args:
        allow_imports: import a user's own network that the recipe names.
    """
    sites = entries(recipe.operations, recipe.opened)
    if recipe.base.library == PROGRAM or (recipe.base.library == CODE and not allow_imports):
        return draw_alone(sites)
    model = networks.build(recipe.base, empty=True)
    with observed(model, resolved(recipe.example, model)) as observation:
        return draw(observation, sites, rulebook.load())
