"""Networks, and one network in several states, on the same images: which answers are right, and at what loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from surgeon.checkpoints.checkpoint import first_line
from surgeon.errors import BadInput
from surgeon.trace.state import in_mode

if TYPE_CHECKING:
    from torch import nn

    from surgeon.pages.evidence.data import Labelled


@dataclass(frozen=True)
class Variant:
    """A network, and the state that it is in while it answers."""

    model: nn.Module
    state: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __call__(self, images: Any) -> Any:
        with self.state():
            return self.run(images)

    def run(self, images: Any) -> Any:
        """What the model says in the state that it is in."""
        return self.model(images)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next((one.device for one in self.model.parameters()), torch.device("cpu"))

    def placed(self, images: Any) -> Any:
        """The images where its weights are, and as precise as these."""
        weight = next((one for one in self.model.parameters() if one.is_floating_point()), torch.empty(()))
        return images.to(weight.device, weight.dtype)


@dataclass
class Scores:
    """Of each image: whether the answer is right, and the cross entropy."""

    right: list[bool] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right)

    @property
    def loss(self) -> float:
        return sum(self.losses) / len(self.losses)


@torch.no_grad()
def scored(data: Labelled, variants: Sequence[Variant]) -> list[Scores]:
    """The Scores of each variant, in evaluation mode; each batch is seen by all of them.

    Raises:
        BadInput: there is no image, a network does not run on them, or has another number of classes.
    """
    found = [Scores() for _ in variants]
    with ExitStack() as stack:
        for model in {id(variant.model): variant.model for variant in variants}.values():
            stack.enter_context(in_mode(model, False))
        for images, labels in data.batches():
            if not len(images):
                continue
            for variant, scores in zip(variants, found):
                answer = _answer(variant, images, labels, data)
                target = labels.to(answer.device)
                scores.right += (answer.argmax(1) == target).tolist()
                scores.losses += F.cross_entropy(answer.float(), target, reduction="none").tolist()
    if not found[0].right:
        raise BadInput(f"there is no image in {data.name}.")
    return found


def _answer(variant: Variant, images: Tensor, labels: Tensor, data: Labelled) -> Tensor:
    """A score for each image and class."""
    kind = type(variant.model).__name__
    try:
        answer = variant(variant.placed(images))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        shape = " x ".join(map(str, images.shape))
        raise BadInput(f"{kind} does not run on images of {shape}, from {data.name}: {first_line(error)}.") from error
    answer = getattr(answer, "logits", answer)
    if not isinstance(answer, Tensor) or answer.dim() != 2 or len(answer) != len(labels):
        raise BadInput(f"{kind} does not answer with a score for each class: it can't be judged by labels.")
    count = answer.shape[1]
    if data.classes is not None and len(data.classes) != count:
        some = ", ".join(data.classes[:3]) + (", ..." if len(data.classes) > 3 else "")
        raise BadInput(f"{data.name} has {len(data.classes)} classes ({some}), and the head of {kind} has {count}.")
    if int(labels.max()) >= count or int(labels.min()) < 0:
        raise BadInput(f"{data.name} has a label of {int(labels.max())}, and the head of {kind} has {count} classes.")
    return answer
