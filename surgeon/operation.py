"""The whole story: look at a model, decide, do, check.

places   what is there            plan     decide, change nothing
apply    do what was decided      inject   both in one call
remove   take it out again        like     the same on a network built anew
fold     ready for deployment
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from surgeon import rulebook
from surgeon.anatomy.watch import observed
from surgeon.attention import attention_modules, compiling
from surgeon.attention.gates import matching
from surgeon.sites import DEFAULT_INIT
from surgeon.surgery import again, aim, budgets, decide, folding, holders, operate, regraft, saving
from surgeon.surgery.alone import alone
from surgeon.trace.noise import note, noted, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from surgeon.rulebook.book import Folders
    from surgeon.rulebook.grammar import Rule
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
    book = rulebook.load(rules)
    with observed(model, example_of(model, example_inputs, book)) as observation:
        return aim.counts(observation, book)


def plan(
    model: nn.Module,
    attention: Attention,
    *,
    where: Where = "residual",
    replace: bool = False,
    init: str = DEFAULT_INIT,
    budget: Mapping[str, float] | None = None,
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
        init: `eager`, `neutral` and `identity`, where the network computes the same bits until it is trained: by last
            layers at 0, in front of steep scores (`eager`) or plain ones, or by a gamma at 0, which opens slowly;
            `paper`, the published module as it is. Modules that surgeon did not write have a gamma of 0 in each of
            the three.
        budget: what all sites together may cost, as a share of the network's own: `{"macs": 0.02}`,
            `{"parameters": 0.01}`, or both. The cheapest sites are taken, as many as it pays for.
        rules: one more folder of rules, or a list of them.
        example_inputs: what to run the model on, if surgeon can't guess: a tensor, a tuple of arguments, a dict of
            keywords, or a text such as `pixel_values=2x3x224x224 input_ids=2x7:int64`.
        options: the attention's own, such as `reduction=8`.

    Raises:
        UnknownName, BadOption: with what there is. NoSite: this model has no such place.
        BadModel, BadInput, BadModule, BadRule, Untraceable: in one line each.
    """
    decide.check_options(attention, init, options)
    budgets.check(budget)
    book = rulebook.load(rules)
    with observed(model, example_of(model, example_inputs, book)) as observation:
        decided = decide.plan(observation, attention, where, init, book, options, replace=replace)
        return decided if budget is None else budgets.within(decided, budget, observation)


def apply(model: Model, plan: Plan, *, example_inputs: Any = None, check: Check = "stitches") -> Model:
    """Do what `plan` says to `model`, in place, all or nothing; returns the same object.

    Args:
        check: `stitches` compares everything that must not change; `output` also runs the model
            before and after, and with an exact start (any but paper) the output must be the same bit for bit.

    Raises:
        BadPlan: the plan is for another network.
        CheckFailed: the network would not run with the attention, or something changed; it is as it was.
        BadModel: another thread operates on this very model, or a wrapper that reduces gradients holds it.
    """
    operate.check_choice(check)
    example = example_of(model, example_inputs, rulebook.load())
    with alone(model):
        optimizers = holders.optimizers_of(model)
        with observed(model, example) as observation:
            prepared = operate.prepare(model, plan, observation)
        operate.perform(model, plan, prepared, check)
        holders.remind(optimizers, model)
        saving.attach(model, prepared.example)
        return _noted(model, example)


def inject(
    model: Model,
    attention: Attention,
    *,
    where: Where = "residual",
    replace: bool = False,
    init: str = DEFAULT_INIT,
    rules: Folders | None = None,
    example_inputs: Any = None,
    check: Check = "stitches",
    compile: bool = False,
    **options: Any,
) -> Model:
    """Put `attention` into `model`, in place, and return it: `plan` and `apply` in one call.

    Args:
        compile: let the attention run as loops compiled for the CPU; see `surgeon.compile`.

    >>> model = inject(torchvision.models.resnet50(weights="DEFAULT"), "cbam", where="bottleneck")
    """
    decide.check_options(attention, init, options)
    operate.check_choice(check)
    book = rulebook.load(rules)
    example = example_of(model, example_inputs, book)
    with alone(model):
        optimizers = holders.optimizers_of(model)
        with observed(model, example) as observation:
            decided = decide.plan(observation, attention, where, init, book, options, replace=replace, costs=False)
            prepared = operate.prepare(model, decided, observation)
        operate.perform(model, decided, prepared, check)
        holders.remind(optimizers, model)
        saving.attach(model, prepared.example)
        return _noted(compiling.compile(model) if compile else model, example)


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
            apply(model, plan, example_inputs=noted(other) if example_inputs is None else example_inputs)
        again.copy_attention(model, other)
    except BaseException:
        remove(model)
        raise
    return model


def remove(model: Model, *sites: str) -> Model:
    """Take attention out again: the original objects, classes and keys. Returns the model.

    Args:
        sites: globs over the paths of gates, or of modules that hold them; all attention if not given. Where a module
            keeps other gates, they are put in anew, as if there had never been more.

    Raises:
        UnknownName: a pattern that matches no gate.
    """
    with alone(model):
        gates = attention_modules(model) if sites else {}
        put = {path: gate for path, gate in gates.items() if gate.site is not None}
        gone = matching(put, sites) if sites else {}
        if len(gone) < len(put):
            kept = {path: gate for path, gate in put.items() if path not in gone}
            regraft.leave(model, put, kept, lambda: example_of(model, None, rulebook.load()))
        else:
            operate.remove(model)
            _forget(model)
    return model


def fold(model: Model) -> Model:
    """Make the attention in `model` ready for deployment, in place; returns the model, whose answers stay, to rounding.

    The norms inside gates become part of the layers in front of them, and the slope of a gate's scores part of its last
    layer. A gamma or a share of 1 is left out. A gate that lets everything pass (a gamma of 0, an exact start that was
    never trained, one that is switched off) is taken out, as `remove` does. Other gammas and the gain stay, since no
    layer could hold them; modules that surgeon did not write stay as they are.

    It is for evaluation alone: a folded gate that is put into training mode warns (FoldedAttention). `save`, `load`,
    exporters, `check`, `report` and `remove` take it as any other; published weights are loaded before folding.

    Raises:
        BadModel: no attention; a network in training mode; or a gate with a hook, an adapter or another layer in it
            than was put in, none of which could be kept. The model is as it was then.

    >>> model = fold(surgeon.inject(torchvision.models.resnet18().eval(), "cbam", init="paper"))
    """
    with alone(model):
        folding.fold(model, lambda: example_of(model, None, rulebook.load()))
        if not attention_modules(model):
            _forget(model)
    return model


def _forget(model: nn.Module) -> None:
    """Leave no note of an operation on a network without attention."""
    saving.detach(model)
    note(model, None)


def example_of(model: nn.Module, example_inputs: Any, book: Sequence[Rule]) -> Any:
    """What to watch a model on: as the user says, as it was watched before, or as a rule for its class says."""
    if example_inputs is not None or not isinstance(model, nn.Module):
        return example_inputs
    return noted(model) or rulebook.example_for(model, book)


def _noted(model: Model, example: Any) -> Model:
    """The model, with a note of what it runs on: `save` and whoever opens the file will run it too."""
    if example is not None:
        note(model, resolved(example, model))
    return model
