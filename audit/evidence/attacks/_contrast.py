"""A model decoded with its logits held against an amateur's: an inner block of its own, or another model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from audit.activations.layers import head
from audit.evidence.attacks._edit import outputs

if TYPE_CHECKING:
    from torch import Tensor

    from audit.subjects.load import Subject

PASSED_ON = ("input_ids", "attention_mask", "position_ids")
Amateur = Callable[[dict[str, Any], int], "Tensor"]
"""Inputs of the model's forward call and a number of positions → logits at the last positions."""


@contextmanager
def contrasted(subject: Subject, amateur: Amateur, strength: float, floor: float) -> Iterator[None]:
    """While open, the model's logits are its own contrasted with an amateur's; see `contrast`."""

    def after(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        own = output.logits.float().log_softmax(-1)
        other = amateur(kwargs, own.shape[1]).to(own.device).float().log_softmax(-1)
        output.logits = contrast(own, other, strength, floor)
        return output

    handle = subject.model.register_forward_hook(after, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def contrast(own: Tensor, other: Tensor, strength: float, floor: float) -> Tensor:
    """Scores own + strength (own - other) of log-probabilities [..., vocabulary], minus infinity below the floor."""
    below = own < own.max(-1, keepdim=True).values + math.log(floor)
    return (own + strength * (own - other)).masked_fill(below, float("-inf"))


@contextmanager
def inner_block(subject: Subject, block: int) -> Iterator[Amateur]:
    """While open, the amateur that reads the model's own inner block (from 1) in the same forward pass."""
    seen: list[Tensor] = []
    project = head(subject.model)

    def keep(hidden: Tensor) -> None:
        seen[:] = [hidden]

    with outputs(subject.model, {block: keep}):
        yield lambda inputs, positions: project(seen[0][:, -positions:])


def other_model(amateur: Subject) -> Amateur:
    """The amateur that is another model; it keeps a cache of its own, begun anew with every prompt."""
    past: list[Any] = []

    def logits(inputs: dict[str, Any], positions: int) -> Tensor:
        import torch
        from transformers import DynamicCache

        # The model's own cache holds no more than these tokens when it reads a prompt: then a new answer begins.
        if inputs["past_key_values"].get_seq_length() == inputs["input_ids"].shape[1]:
            past[:] = [DynamicCache(config=amateur.model.config)]
        given = {name: inputs[name] for name in PASSED_ON if inputs.get(name) is not None}
        given = {name: value.to(amateur.device) for name, value in given.items()}
        with torch.inference_mode():
            found = amateur.model(**given, past_key_values=past[0], use_cache=True).logits
        return found[:, -positions:]

    return logits
