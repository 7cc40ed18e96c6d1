"""The whole story: look at a model, decide, do, check.

places   what is there            plan     decide, change nothing
apply    do what was decided      inject   both in one call
remove   take it out again        like     the same on a network built anew
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from surgeon import rulebook
from surgeon.anatomy.observation import observed
from surgeon.surgery import again, aim, decide, holders, operate, saving
from surgeon.surgery.alone import alone

if TYPE_CHECKING:
    from torch import nn

    from surgeon.rulebook.book import Folders
    from surgeon.sites import Plan
    from surgeon.surgery.aim import Where
    from surgeon.surgery.decide import Attention
    from surgeon.surgery.operate import Check, Model


def places(model: nn.Module, *, rules: Folders | None = None, example_inputs: Any = None) -> dict[str, int]:
    """How many sites of each place this model has.

    Raises:
        BadInput: the model does not run on the example input, or none could be guessed.

    >>> places(torchvision.models.resnet50())
    {'bottleneck': 3, 'final': 1, 'gate': 0, 'input': 1, 'residual': 16}
    """
    with observed(model, example_inputs) as observation:
        return aim.counts(observation, rulebook.load(rules))


def plan(
    model: nn.Module,
    attention: Attention,
    *,
    where: Where = "residual",
    replace: bool = False,
    init: str = "identity",
    rules: Folders | None = None,
    example_inputs: Any = None,
    **options: Any,
) -> Plan:
    """Decide where `attention` will go in `model`; nothing is changed.

    Args:
        model: any network of images or video clips; it may be on meta.
        attention: a name such as `cbam` or `timm:gc`, `package.module:Class`, or a class or callable
            that makes a module from the number of channels.
        where: a place (`residual`, `bottleneck`, `final`, `input`, `gate`); or what attention goes after: the path of a
            module (`layer4`), a glob over paths (`layer3.*.bn2`; `*` stays within a dot, `**` does not), a class
            of modules or its name (`torch.nn.MaxPool2d`); a rule file; a list of these.
        replace: attention takes the place of the modules that `where` means (`gate`: those of the network's own that
            weigh a map by scores made of it). It starts as they are, bit for bit, and learns its way over; with
            init="paper" it replaces them at once.
        init: `identity` and `neutral`, where the network computes the same bits until it is trained, by a gamma at 0 or
            by last layers at 0; `paper`, the published module as it is.
        rules: one more folder of rules, or a list of them.
        example_inputs: what to run the model on, if surgeon can't guess: a tensor, a tuple, a dict.
        options: the attention's own, such as `reduction=8`.

    Raises:
        UnknownName, BadOption: with what there is. NoSite: this model has no such place.
        BadModel, BadInput, BadModule, BadRule, Untraceable: in one line each.
    """
    decide.check_options(attention, init, options)
    with observed(model, example_inputs) as observation:
        return decide.plan(observation, attention, where, init, rulebook.load(rules), options, replace=replace)


def apply(model: Model, plan: Plan, *, example_inputs: Any = None, check: Check = "stitches") -> Model:
    """Do what `plan` says to `model`, in place, all or nothing; returns the same object.

    Args:
        check: `stitches` compares everything that must not change; `output` also runs the model
            before and after, and with an exact start (identity, neutral) the output must be the same bit for bit.

    Raises:
        BadPlan: the plan is for another network.
        CheckFailed: the network would not run with the attention, or something changed; it is as it was.
        BadModel: another thread operates on this very model, or a wrapper that reduces gradients holds it.
    """
    operate.check_choice(check)
    with alone(model):
        optimizers = holders.optimizers_of(model)
        with observed(model, example_inputs) as observation:
            prepared = operate.prepare(model, plan, observation)
        operate.perform(model, plan, prepared, check)
        holders.remind(optimizers, model)
        saving.attach(model, prepared.example)
    return model


def inject(
    model: Model,
    attention: Attention,
    *,
    where: Where = "residual",
    replace: bool = False,
    init: str = "identity",
    rules: Folders | None = None,
    example_inputs: Any = None,
    check: Check = "stitches",
    **options: Any,
) -> Model:
    """Put `attention` into `model`, in place, and return it: `plan` and `apply` in one call.

    >>> model = inject(torchvision.models.resnet50(weights="DEFAULT"), "cbam", where="bottleneck")
    """
    decide.check_options(attention, init, options)
    operate.check_choice(check)
    with alone(model):
        optimizers = holders.optimizers_of(model)
        with observed(model, example_inputs) as observation:
            decided = decide.plan(
                observation, attention, where, init, rulebook.load(rules), options, replace=replace, costs=False
            )
            prepared = operate.prepare(model, decided, observation)
        operate.perform(model, decided, prepared, check)
        holders.remind(optimizers, model)
        saving.attach(model, prepared.example)
    return model


def like(model: Model, other: nn.Module, *, example_inputs: Any = None) -> Model:
    """Put the attention of `other` into `model`, in place, at the same sites and with its weights; returns `model`.

    For trainers that build a network anew and copy its weights, and for copies without attention: `model` is the
    network that `other` was before its operation. Its own weights stay as they are.

    Raises:
        BadPlan: it is another network. BadModel: `other` has no attention, or `model` has some.

    >>> fresh = like(torchvision.models.resnet18(num_classes=4), model)
    """
    plans = again.plans(other)
    again.check_alike(model, other, plans)
    try:
        for plan in plans:
            apply(model, plan, example_inputs=example_inputs)
        again.copy_attention(model, other)
    except BaseException:
        remove(model)
        raise
    return model


def remove(model: Model) -> Model:
    """Take all attention out again: the original objects, classes and keys. Returns the model."""
    with alone(model):
        operate.remove(model)
        saving.detach(model)
    return model
