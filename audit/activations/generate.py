"""Greedy answers in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from audit.activations.encode import encode, encode_prompt
from audit.types import Item

if TYPE_CHECKING:
    from audit.subjects.load import Subject

BATCH = 64
LONGEST = 200
"""No answer is generated past this many tokens (the limit that TOFU's own evaluation uses)."""


def answer_budget(subject: Subject, items: Sequence[Item], template: str) -> int:
    """Tokens to generate: half as many again as the longest expected answer, and eight more, at most LONGEST."""
    longest = max(len(e) - e.start for e in (encode(subject.tokenizer, i.prompt, i.answer, template) for i in items))
    return min(LONGEST, longest + longest // 2 + 8)


def says(
    subject: Subject,
    items: Sequence[Item],
    template: str,
    prompts: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[str]:
    """What a subject says to each item's prompt (or to `prompts`), in order: greedy, cut at the first line break."""
    import torch

    asked = [item.prompt for item in items] if prompts is None else list(prompts)
    ids = [encode_prompt(subject.tokenizer, prompt, template) for prompt in asked]
    budget = answer_budget(subject, items, template) if items else 0
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    answers = [""] * len(ids)
    pad = subject.tokenizer.pad_token_id
    pad = pad if pad is not None else (subject.tokenizer.eos_token_id or 0)
    for begin in range(0, len(order), BATCH):
        rows = order[begin : begin + BATCH]
        length = max(len(ids[i]) for i in rows)
        batch = torch.tensor([[pad] * (length - len(ids[i])) + ids[i] for i in rows], device=subject.device)
        mask = torch.tensor([[0] * (length - len(ids[i])) + [1] * len(ids[i]) for i in rows], device=subject.device)
        with torch.inference_mode():
            out = subject.model.generate(  # type: ignore[operator]
                input_ids=batch,
                attention_mask=mask,
                max_new_tokens=budget,
                do_sample=False,
                num_beams=1,
                pad_token_id=pad,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,
            )
        for i, row in zip(rows, out[:, length:].tolist(), strict=True):
            text = subject.tokenizer.decode(row, skip_special_tokens=True)
            answers[i] = text.strip().split("\n")[0].strip()
        if progress:
            progress(min(1.0, (begin + BATCH) / len(order)))
    return answers
