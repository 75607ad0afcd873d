"""Answers in batches: greedy ones, and samples that do not depend on how they were batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.activations import drawing, images
from audit.activations.encode import Encoded, encode, encode_item, question
from audit.activations.eyes import shown_to
from audit.stats import seed_of
from audit.types import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subjects.load import Subject

BATCH = 64
LONGEST = 200
"""No answer is generated past this many tokens (the limit that TOFU's own evaluation uses)."""


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn; the draws of an item depend on the seed and its id alone."""

    seed: int
    temperature: float = 1.0
    top_p: float = 1.0

    def uniforms(self, item: Item, n: int) -> NDArray[np.float64]:
        """One number from 0 to 1 for each sample and token [n, LONGEST]."""
        return np.random.default_rng(seed_of("samples", self.seed, item.id)).random((n, LONGEST))


def answer_budget(subject: Subject, items: Sequence[Item], template: str) -> int:
    """Tokens to generate: half as many again as the longest expected answer, and eight more, at most LONGEST."""
    longest = max(len(e) - e.start for e in (encode_item(subject.tokenizer, i, template) for i in items))
    return min(LONGEST, longest + longest // 2 + 8)


def says(
    subject: Subject,
    items: Sequence[Item],
    template: str,
    prompts: Sequence[str] | None = None,
    progress: Callable[[float], None] | None = None,
    begun: Sequence[str] | None = None,
) -> list[str]:
    """What a subject says to each item's prompt (or to `prompts`), in order: greedy, cut at the first line break.

    `begun` is how each answer begins (empty where it does not); only what is said after it is returned. An image
    classifier names the class of each item's image, whatever is asked; an encoder the nearest answer of its gallery.
    """
    if subject.encoding:
        from audit.activations import vectors

        return vectors.says(subject, items, prompts, progress)
    if subject.scorer is not None:
        return drawing.says(subject, items, progress)
    if subject.classes:
        return images.says(subject, items, progress)
    asked = [item.prompt for item in items] if prompts is None else list(prompts)
    ids = [_ids(subject, i, p, b, template) for i, p, b in zip(items, asked, begun or [""] * len(asked), strict=True)]
    budget = answer_budget(subject, items, template) if items else 0
    return _answers(subject, ids, budget, None, progress)


def samples(
    subject: Subject,
    items: Sequence[Item],
    template: str,
    n: int,
    sampling: Sampling,
    progress: Callable[[float], None] | None = None,
) -> list[list[str]]:
    """`n` samples of each item's answer, cut at the first line break; the first of them do not depend on `n`."""
    ids = [question(subject.tokenizer, item.prompt, template, item.image) for item in items]
    budget = answer_budget(subject, items, template) if items else 0
    draws = np.concatenate([sampling.uniforms(item, n)[:, :budget] for item in items]) if items else np.empty((0, 0))
    found = _answers(subject, [row for row in ids for _ in range(n)], budget, (sampling, draws), progress)
    return [found[i * n : (i + 1) * n] for i in range(len(items))]


def decode(
    subject: Subject, inputs: dict[str, Tensor], budget: int, pick: Callable[[Tensor, Tensor], Tensor] | None = None
) -> list[str]:
    """What a subject says after such inputs, cut at the first line break; see `generated`."""
    rows = generated(subject, inputs, budget, pick)
    texts = (subject.tokenizer.decode(row, skip_special_tokens=True) for row in rows)
    return [text.strip().split("\n")[0].strip() for text in texts]


def generated(
    subject: Subject, inputs: dict[str, Tensor], budget: int, pick: Callable[[Tensor, Tensor], Tensor] | None = None
) -> list[list[int]]:
    """Tokens that follow left-padded `input_ids` or `inputs_embeds` with their mask: greedy unless `pick` picks.

    At most `budget` each, padded after an end of text. `pick` maps ids so far [rows, length] and scores
    [rows, vocabulary] to scores whose highest is taken.
    """
    import torch

    with torch.inference_mode():
        out = subject.model.generate(  # type: ignore[operator]
            **inputs,
            max_new_tokens=budget,
            do_sample=False,
            num_beams=1,
            pad_token_id=pad_id(subject),
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=1.0,
            logits_processor=[pick] if pick else None,
        )
    begin = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
    found: list[list[int]] = out[:, begin:].tolist()
    return found


def left_padded(subject: Subject, given: Sequence[Sequence[int] | Encoded]) -> dict[str, Tensor]:
    """Token ids of some prompts as `input_ids` and `attention_mask` [rows, longest], filled up on the left.

    Encoded prompts bring their images along.
    """
    import torch

    rows = [row.ids if isinstance(row, Encoded) else row for row in given]
    length, pad = max(len(row) for row in rows), pad_id(subject)
    inputs = {
        "input_ids": [[pad] * (length - len(row)) + list(row) for row in rows],
        "attention_mask": [[0] * (length - len(row)) + [1] * len(row) for row in rows],
    }
    made = {name: torch.tensor(values, device=subject.device) for name, values in inputs.items()}
    shown = [row.shown if isinstance(row, Encoded) else None for row in given]
    return made | shown_to(shown, made["input_ids"])


def pad_id(subject: Subject) -> int:
    """The token that fills rows up: the tokenizer's own, else its end of text, else the first."""
    pad = subject.tokenizer.pad_token_id
    return int(pad if pad is not None else (subject.tokenizer.eos_token_id or 0))


def _ids(subject: Subject, item: Item, prompt: str, begun: str, template: str) -> Encoded:
    if not begun:
        return question(subject.tokenizer, prompt, template, item.image)
    return encode(subject.tokenizer, prompt, begun, template, item.image)


def _answers(
    subject: Subject,
    ids: Sequence[Encoded],
    budget: int,
    drawn: tuple[Sampling, NDArray[np.float64]] | None,
    progress: Callable[[float], None] | None,
) -> list[str]:
    """One answer for each row of ids, batched by length; sampled where there are draws [rows, budget]."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    answers = [""] * len(ids)
    for begin in range(0, len(order), BATCH):
        rows = order[begin : begin + BATCH]
        inputs = left_padded(subject, [ids[i] for i in rows])
        pick = Draw(drawn[0], drawn[1][rows], inputs["input_ids"].shape[1]) if drawn else None
        for i, text in zip(rows, decode(subject, inputs, budget, pick), strict=True):
            answers[i] = text
        if progress:
            progress(min(1.0, (begin + BATCH) / len(order)))
    return answers


class Draw:
    """Picks by inverting the distribution function at numbers that were drawn beforehand.

    Row by row, so that neither the other rows nor the padding of a batch change what is drawn.
    """

    def __init__(self, sampling: Sampling, uniforms: NDArray[np.float64], length: int) -> None:
        self.sampling, self.uniforms, self.length = sampling, uniforms, length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [rows, vocabulary] that are 0 at the drawn token and minus infinity elsewhere."""
        import torch

        shares = torch.softmax(scores.double() / self.sampling.temperature, dim=-1)
        if self.sampling.top_p < 1:
            ordered, index = shares.sort(dim=-1, descending=True)
            ordered[ordered.cumsum(-1) - ordered >= self.sampling.top_p] = 0.0
            shares = torch.zeros_like(shares).scatter(-1, index, ordered)
        reached = shares.cumsum(-1)
        u = torch.from_numpy(self.uniforms[:, input_ids.shape[1] - self.length]).to(reached.device)
        # The first token whose cumulated share is above u; one of share 0 never is.
        token = torch.searchsorted(reached, (u * reached[:, -1])[:, None], right=True)
        token = token.clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(-1, token, 0.0)
