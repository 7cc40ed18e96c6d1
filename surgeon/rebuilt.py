"""Whether what a file will say gives this very network again: built from it beside the original, with the same weights, and run."""

import torch

from surgeon import check, recipe, ties
from surgeon.errors import BadFile, BadInput, BadModel
from surgeon.samples import answered


def compare(model, made):
    """Build the network of the recipe `made`, give it the weights of `model`, and compare what both answer, bit for bit.

    Weights are not copied. A network that runs on no image that surgeon can think of is compared by its settings alone,
    as is one on meta.

    Raises:
        BadModel: it can't be built, or computes something else.
    """
    try:
        twin = recipe.rebuild(made, allow_imports=True)
    except BadFile as error:
        raise BadModel(f"a file of this network could not be opened: {error}") from error
    if any(tensor.is_meta for tensor in model.state_dict().values()):
        return
    ties.load(twin, {key: value.detach() for key, value in model.state_dict().items()}, copy=False)
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
            said = check.outputs(twin, (image,))
    # What a file would give back fails in its own way.
    except Exception as error:
        raise BadModel(f"a file of this network would give back one that does not run: {error}") from error
    if not check.same_bits(expected, said):
        told = f"by up to {check.farthest(expected, said):.3g}" if len(expected) == len(said) else "in their number"
        raise BadModel(f"a file of this network would give back one that computes something else: outputs differ {told}. Hooks, and whatever else is "
                       "set on it beside numbers and texts, are in no file: take them off, or name what makes it, base='package.module:function'.")
