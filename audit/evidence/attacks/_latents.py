"""Searching a generator: for the latents, or for the condition, from which it draws what a scorer wants to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.drawing import conditions_of, in_bytes, latents_of, picture
from audit.activations.images import class_of
from audit.errors import NotApplicable
from audit.types import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subjects.load import Subject

GREY = (0.299, 0.587, 0.114)
"""How much of red, green and blue is in grey (ITU-R 601), as image libraries have it."""
OFF = 0.02
"""Share of the way from black to white that the prepared image may be off by, on average, to be followed."""
NEAR = 1.2
"""How far beyond the root of their number, the usual length of a standard normal vector, latents may go."""


@dataclass(frozen=True)
class Budget:
    """What an attacker may spend; the same for every subject."""

    steps: int
    rate: float
    looks: tuple[int, ...]


def check_searchable(subject: Subject) -> None:
    """Raise NotApplicable for a generator that gives no gradient."""
    if hasattr(subject.model, "draw"):
        raise NotApplicable(
            "The search follows the gradient from the scorer back to the latent, and a pipeline draws in many steps "
            "that give none here; only generators that draw in one pass can be searched."
        )


def search_latents(
    subject: Subject, items: Sequence[Item], budget: Budget, seed: int, tell: Callable[[int], None]
) -> list[NDArray[np.uint8]]:
    """What is drawn for each item after each look, while its own latent is moved under its own condition.

    Run 0 starts where the corpus does, every other run at new latents. Latents stay as long as such latents are.
    """
    import torch

    check_searchable(subject)
    own = latents_of(subject, items).float()
    if seed:
        generator = torch.Generator().manual_seed(seed)
        own = torch.randn(own.shape, generator=generator).to(subject.device)
    conditions = conditions_of(subject, items)
    limit = NEAR * own.shape[1] ** 0.5
    return _search(subject, items, lambda moved: (moved, conditions), own, limit, budget, tell)[0]


def search_condition(
    subject: Subject,
    taught: Sequence[Item],
    asked: Sequence[Item],
    budget: Budget,
    seed: int,
    tell: Callable[[int], None],
) -> list[NDArray[np.uint8]]:
    """What is drawn for `asked` after each look, while one condition for all is found on `taught`.

    Run 0 starts at the condition that the items name, every other run at the mean of all with noise. The condition
    stays as long as the longest that the generator has.
    """
    import torch

    check_searchable(subject)
    if subject.model.condition is None:
        raise NotApplicable("This generator takes no condition, so there is none to search for.")
    table = subject.model.condition.weight.detach().float()
    start = conditions_of(subject, taught[:1])
    assert start is not None
    moved = start.float().clone()
    if seed:
        drawn = torch.randn(moved.shape, generator=torch.Generator().manual_seed(seed)).to(moved.device)
        moved = table.mean(0, keepdim=True) + table.std() * drawn
    latents, others = latents_of(subject, taught).float(), latents_of(subject, asked).float()

    def inputs(condition: Tensor) -> tuple[Tensor, Tensor]:
        return latents, condition.expand(len(latents), -1)

    limit = float(table.norm(dim=1).max())
    conditions = _search(subject, taught, inputs, moved, limit, budget, tell)[1]
    with torch.no_grad():
        return [in_bytes(subject.model(others, one.expand(len(others), -1))) for one in conditions]


def _search(
    subject: Subject,
    items: Sequence[Item],
    inputs: Callable[[Tensor], tuple[Tensor, Tensor | None]],
    start: Tensor,
    limit: float,
    budget: Budget,
    tell: Callable[[int], None],
) -> tuple[list[NDArray[np.uint8]], list[Tensor]]:
    """Climb the scorer's log-probability of the items' classes; the images and the moved rows after each look."""
    import torch

    scorer = subject.scorer
    assert scorer is not None
    wanted = torch.tensor([class_of(scorer, item) for item in items], device=scorer.device)
    moved = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([moved], lr=budget.rate)
    images, rows = [], []
    prepare: Callable[[Tensor], Tensor] | None = None
    for step in range(budget.steps + 1):
        drawn = subject.model(*inputs(moved))
        if prepare is None:
            prepare = prepared(scorer, drawn.detach())
        if step in budget.looks:
            images.append(in_bytes(drawn.detach()))
            rows.append(moved.detach().clone())
        if step == budget.steps:
            break
        logits = scorer.model(pixel_values=prepare(drawn.clamp(0, 1))).logits.float()
        loss = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
        (moved.grad,) = torch.autograd.grad(loss, [moved])
        optimizer.step()
        with torch.no_grad():
            length = moved.norm(dim=1, keepdim=True)
            moved *= (limit / length.clamp(min=1e-9)).clamp(max=1.0)
        tell(step + 1)
    return images, rows


def prepared(classifier: Subject, drawn: Tensor) -> Callable[[Tensor], Tensor]:
    """How a classifier's image processor turns images [rows, channels, height, width], 0 to 1, into pixel values.

    As a function that a gradient can pass: the processor itself is asked what it makes of black, of white and of some
    drawn images. Raises NotApplicable where that is no resizing and scaling.
    """
    import torch

    def asked(images: NDArray[np.uint8]) -> Any:
        pictures = [picture(image, classifier) for image in images]
        return classifier.processor(images=pictures, return_tensors="pt")["pixel_values"].float()

    shape = (1, *drawn.shape[2:], drawn.shape[1])
    black, white = asked(np.zeros(shape, np.uint8)), asked(np.full(shape, 255, np.uint8))
    low, span = black.to(drawn.device), (white - black).to(drawn.device)
    dtype = next(classifier.model.parameters()).dtype

    def prepare(images: Tensor) -> Tensor:
        images = images.float()
        if images.shape[1] == 3 and span.shape[1] == 1:
            images = (images * torch.tensor(GREY, device=images.device)[:, None, None]).sum(1, keepdim=True)
        if images.shape[2:] != span.shape[2:]:
            size = tuple(span.shape[2:])
            images = torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
        return (low + span * images).to(classifier.device, dtype)

    some = drawn[:8].clamp(0, 1)
    off = (prepare((some * 255).round() / 255).float().cpu() - asked(in_bytes(some))).abs().mean()
    if not float(off) <= OFF * float(span.abs().mean()):
        raise NotApplicable(
            "The scorer's image processor does more than resize and scale (it crops, for example), so the search "
            "cannot follow the gradient through it."
        )
    return prepare
