"""Hooks that a system keeps in its model, and what they know of every forward pass: where the prompt lies, and whose.

The decision is made once, when the prompt is read, and holds for all tokens that are written after it. Hooks of an
audit are set and removed one by one beside these: nothing here takes away what it did not set.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from audit.activations.layers import decoder
from audit.errors import CaptureError

if TYPE_CHECKING:
    from torch import Tensor

    from audit.subjects.load import Subject

Detector = Callable[[Sequence[Sequence[int]]], list[bool]]
"""Token ids of prompts → which of them are meant."""


@dataclass
class Pass:
    """One forward pass: which rows are meant, and which positions are the prompt's."""

    prefill: bool
    """Whether the prompt is read here; later passes write tokens after it, out of a cache."""
    flagged: Tensor
    """[rows]"""
    prompt: Tensor
    """[rows, length], False everywhere after the prefill"""
    ids: list[list[int]]
    """The prompts without padding."""


class Inside:
    """What a system's hooks ask of the pass that is under way (`now`)."""

    def __init__(self, subject: Subject, detect: Detector) -> None:
        self.detect = detect
        self.now: Pass | None = None
        self._module = decoder(subject.model)
        self._parameters = inspect.signature(self._module.forward)
        self._module.register_forward_pre_hook(self._before, with_kwargs=True)
        if subject.model.generation_config is not None:
            # Without a cache every written token would be taken for a part of a new, longer prompt.
            subject.model.generation_config.use_cache = True

    def _before(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = self._parameters.bind_partial(*args, **kwargs).arguments
        given = {**given, **given.get("kwargs", {})}
        ids, past = given.get("input_ids"), given.get("past_key_values")
        if ids is None:
            raise CaptureError("This system reads its prompts as tokens; it cannot be given embeddings in their place.")
        if past is not None and past.get_seq_length() > 0:
            self._go_on(ids)
        else:
            self.now = self._read(ids, given.get("attention_mask"))

    def _go_on(self, ids: Tensor) -> None:
        import torch

        if self.now is None or len(self.now.flagged) != len(ids):
            raise CaptureError(
                "A token is written after a prompt that this system has not read; give the whole prompt."
            )
        none = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
        self.now = Pass(False, self.now.flagged, none, self.now.ids)

    def _read(self, ids: Tensor, mask: Tensor | None) -> Pass:
        import torch

        steps = torch.arange(ids.shape[1], device=ids.device)
        there = mask.bool() if mask is not None and mask.ndim == 2 else torch.ones_like(ids, dtype=torch.bool)
        last = getattr(ids, "prompt_last", None)  # a batch with answers says where they begin
        prompt = there if last is None else there & (steps <= last.to(ids.device)[:, None])
        rows = [ids[i][prompt[i]].tolist() for i in range(len(ids))]
        flags = torch.tensor(self.detect(rows), dtype=torch.bool, device=ids.device)
        return Pass(True, flags, prompt, rows)
