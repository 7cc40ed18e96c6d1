"""The network of a recipe, built again.

Also whether a recipe gives back the very network that it was made from: both are run with the same weights.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from surgeon import networks
from surgeon.errors import BadFile, BadInput, BadModel, SurgeonError
from surgeon.files.recipe import Recipe
from surgeon.networks.blueprint import CODE, PROGRAM
from surgeon.networks.identify import first_difference
from surgeon.networks.samples import answered
from surgeon.networks.settings import settle
from surgeon.networks.weights import load_weights, shapes_of
from surgeon.operation import apply
from surgeon.sites import Plan
from surgeon.surgery.operations import operations_of
from surgeon.trace.outputs import max_abs_diff, outputs, same_bits


def rebuild(
    recipe: Recipe, *, allow_imports: bool = False, arguments: dict[str, Any] | None = None, empty: bool = True
) -> nn.Module:
    """The network of `recipe`, its weights not yet filled in.

    Args:
        arguments: for the base's constructor, beside those of the recipe: another number of classes.
        empty: False draws random weights.

    Raises:
        BadFile: the recipe names a user's own network or attention and `allow_imports` was not given, or what it
            describes can't be built with these versions of the libraries.
    """
    if recipe.base.library == PROGRAM:
        raise BadFile(
            f"its network, {recipe.base.name}, is a program without a library's name; only the .pt2 holds it."
        )
    if recipe.base.library == CODE and not allow_imports:
        raise _own_code("network", recipe.base.name)
    refuse_imports(recipe.operations, allow_imports)
    try:
        model = networks.build(recipe.base, arguments=arguments, empty=empty)
        for plan in recipe.operations:
            apply(model, plan)
        settle(model, recipe.settings)
    except SurgeonError as error:
        versions = ", ".join(f"{name} {version}" for name, version in recipe.versions.items())
        raise BadFile(f"{recipe.base} can't be built again here: {error} The file was made with {versions}.") from error
    _refuse_differences(recipe, model)
    return model


def first_key_difference(expected: Iterable[str], found: Iterable[str]) -> str | None:
    """The first key that one of the two has and the other has not, in words; None where they have the same."""
    return first_difference(dict.fromkeys(expected, ()), dict.fromkeys(found, ()))


def refuse_imports(plans: Iterable[Plan], allow_imports: bool) -> None:
    """Refuse attention whose name is code of neither surgeon nor the libraries: making it would import the code."""
    for plan in plans:
        if ":" in plan.attention and not plan.attention.startswith("timm:") and not allow_imports:
            raise _own_code("attention", plan.attention)


def _own_code(what: str, name: str) -> BadFile:
    return BadFile(
        f"the {what} {name!r} is somebody's own code, and loading would import it. "
        "If you trust the file: surgeon.load(path, allow_imports=True), or --allow-imports."
    )


def _refuse_differences(recipe: Recipe, model: nn.Module) -> None:
    """Refuse a network that has other tensors than the recipe lists, or attention in other places."""
    difference = first_key_difference(recipe.tensors, shapes_of(model))
    if difference:
        raise BadFile(f"{recipe.base}, built again, is not the network of the recipe: {difference}.")
    if operations_of(model) != recipe.operations:
        raise BadFile(f"{recipe.base}, built again, has its attention elsewhere than the recipe says.")


def compare(model: nn.Module, recipe: Recipe) -> None:
    """Build the network of `recipe`, give it the weights of `model`, and compare the outputs of both, bit for bit.

    Weights are not copied. A network on meta, or one that runs on no image that surgeon can think of, is compared
    by its settings alone.

    Raises:
        BadModel: it can't be built, or computes something else.
    """
    try:
        rebuilt = rebuild(recipe, allow_imports=True)
    except BadFile as error:
        raise BadModel(f"a file of this network could not be opened: {error}") from error
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        return
    load_weights(rebuilt, {key: value.detach() for key, value in model.state_dict().items()}, copy=False)
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    _compare_outputs(model, rebuilt.to(device))


def _compare_outputs(model: nn.Module, rebuilt: nn.Module) -> None:
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            image, expected = answered(model)
    except BadInput:
        return
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            found = outputs(rebuilt, (image,))
    # Whatever the network that a file would give back raises.
    except Exception as error:
        raise BadModel(f"a file of this network would give back one that does not run: {error}") from error
    if not same_bits(expected, found):
        same_number = len(expected) == len(found)
        difference = f"by up to {max_abs_diff(expected, found):.3g}" if same_number else "in their number"
        raise BadModel(
            f"a file of this network would give back one that computes something else: outputs differ {difference}. "
            "Hooks, and whatever else is set on it beside numbers and texts, are in no file: take them off, "
            "or name what makes it, base='package.module:function'."
        )
