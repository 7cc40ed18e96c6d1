"""The network of a recipe, built again; and whether what a file will say gives this very network: both, with the same weights, run."""

import torch

from surgeon import networks
from surgeon.errors import BadFile, BadInput, BadModel, SurgeonError
from surgeon.files.derive import operations_of
from surgeon.networks.blueprint import CODE, PROGRAM
from surgeon.networks.identify import first_difference
from surgeon.networks.samples import answered
from surgeon.networks.settings import settle
from surgeon.networks.weights import load_weights, shapes_of
from surgeon.operation import apply
from surgeon.trace.outputs import max_abs_diff, outputs, same_bits


def rebuild(made, *, allow_imports=False, arguments=None, empty=True):
    """The network of the recipe `made`, its weights not yet filled in.

    Args:
        arguments: for the base's constructor, beside those of the recipe: another number of classes.
        empty: False draws random weights.

    Raises:
        BadFile: the recipe names a user's own network or attention and `allow_imports` was not given, or what it
            describes can't be built with these versions of the libraries.
    """
    if made.base.library == PROGRAM:
        raise BadFile(f"its network, {made.base.name}, is a program without a library's name; only the .pt2 holds it.")
    _permit("network", made.base.name, made.base.library != CODE or allow_imports)
    for plan in made.operations:
        _permit("attention", plan.attention, ":" not in plan.attention or plan.attention.startswith("timm:") or allow_imports)
    try:
        model = networks.build(made.base, arguments=arguments, empty=empty)
        for plan in made.operations:
            apply(model, plan)
        settle(model, made.settings)
    except SurgeonError as error:
        versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
        raise BadFile(f"{made.base} can't be built again here: {error} The file was made with {versions}.") from error
    _same_keys(made, model)
    return model


def _permit(what, name, allowed):
    if not allowed:
        raise BadFile(f"the {what} {name!r} is somebody's own code, and loading would import it. "
                      "If you trust the file: surgeon.load(path, allow_imports=True), or --allow-imports.")


def _same_keys(made, model):
    """Every tensor that the recipe lists has its place in the model, and the other way round."""
    difference = first_difference(dict.fromkeys(made.tensors, ()), dict.fromkeys(shapes_of(model), ()))
    if difference:
        raise BadFile(f"{made.base}, built again, is not the network of the recipe: {difference}.")
    if operations_of(model) != made.operations:
        raise BadFile(f"{made.base}, built again, has its attention elsewhere than the recipe says.")


def compare(model, made):
    """Build the network of the recipe `made`, give it the weights of `model`, and compare what both answer, bit for bit.

    Weights are not copied. A network that runs on no image that surgeon can think of is compared by its settings alone,
    as is one on meta.

    Raises:
        BadModel: it can't be built, or computes something else.
    """
    try:
        twin = rebuild(made, allow_imports=True)
    except BadFile as error:
        raise BadModel(f"a file of this network could not be opened: {error}") from error
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        return
    load_weights(twin, {key: value.detach() for key, value in model.state_dict().items()}, copy=False)
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    _same_answers(model, twin.to(device))


def _same_answers(model, twin):
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            image, expected = answered(model)
    except BadInput:
        return
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            said = outputs(twin, (image,))
    # What a file would give back fails in its own way.
    except Exception as error:
        raise BadModel(f"a file of this network would give back one that does not run: {error}") from error
    if not same_bits(expected, said):
        told = f"by up to {max_abs_diff(expected, said):.3g}" if len(expected) == len(said) else "in their number"
        raise BadModel(f"a file of this network would give back one that computes something else: outputs differ {told}. Hooks, and whatever else is "
                       "set on it beside numbers and texts, are in no file: take them off, or name what makes it, base='package.module:function'.")
