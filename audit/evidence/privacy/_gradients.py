"""Norms of the gradient of one answer's loss, without ever holding the gradients of a whole model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from audit.activations.encode import encode_item
from audit.activations.eyes import shown_to
from audit.errors import NotIdentifiable
from audit.types import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

    from audit.subjects.load import Subject


def mean_norms(
    subject: Subject, items: Sequence[Item], template: str, p: float, progress: Callable[[float], None]
) -> NDArray[np.float64]:
    """Mean over the parameter tensors of the p-norm of the gradient of each answer's mean loss [items].

    One answer at a time, dropout off, norms in float32. Raises NotIdentifiable when one is not a number.
    """
    import torch

    result = np.empty(len(items))
    with _norms_as_they_come(subject.model, p) as norms:
        for k, item in enumerate(items):
            progress(k / len(items))
            answer = encode_item(subject.tokenizer, item, template)
            ids = torch.tensor([answer.ids], device=subject.device)
            seen = shown_to([answer.shown], ids)
            with torch.enable_grad():
                logits = subject.model(input_ids=ids, **seen, use_cache=False).logits[0, answer.start - 1 : -1].float()
                loss = torch.nn.functional.cross_entropy(logits, ids[0, answer.start :].to(logits.device))
                loss.backward()
            result[k] = float(np.mean([float(norm) for norm in norms]))
            norms.clear()
            if not np.isfinite(result[k]):
                raise NotIdentifiable(f"The gradient of {subject.spec.name} is not a number for {item.id}.")
    return result


@contextmanager
def _norms_as_they_come(model: Module, p: float) -> Iterator[list[Tensor]]:
    """A list that each backward pass fills, one norm a tensor; every gradient is given back at once.

    A tensor that the answer does not touch has no entry. On leaving, the model asks for no gradient, as before.
    """
    import torch

    norms: list[Tensor] = []

    def take(parameter: Tensor) -> None:
        if parameter.grad is not None:
            norms.append(torch.linalg.vector_norm(parameter.grad, p, dtype=torch.float32))
        parameter.grad = None

    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    hooks = []
    try:
        for parameter, _ in before:
            parameter.requires_grad_(True)
            hooks.append(parameter.register_post_accumulate_grad_hook(take))
        yield norms
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, asked in before:
            parameter.grad = None
            parameter.requires_grad_(asked)
