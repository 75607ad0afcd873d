"""Answers in batches: greedy ones, and samples that do not depend on how they were batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.activations import drawing, images
from audit.activations.encode import Encoded, check_reads, encode, encode_item, question, reading_length
from audit.activations.eyes import shown_to
from audit.errors import NotApplicable, TooLong
from audit.stats import seed_of
from audit.types import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subjects.load import Subject

BATCH = 64
TOKENS = 2**14
"""Padded tokens of one batch, prompts and answers together: the memory of what was read grows with them."""
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
    return _budget([answer_length(subject, item, template) for item in items])


def answer_length(subject: Subject, item: Item, template: str) -> int:
    """Tokens of an item's answer; raises TooLong for an item that is longer than the model reads."""
    row = encode_item(subject.tokenizer, item, template)
    return len(row) - row.start


def asked(subject: Subject, item: Item, template: str) -> Encoded:
    """An item's own question; raises TooLong where the model has no room for its answer after it."""
    return _ids(subject, item, item.prompt, "", template, answer_length(subject, item, template))


def _budget(lengths: Sequence[int]) -> int:
    longest = max(lengths, default=0)
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
    Raises TooLong where an item's own prompt leaves the model no room for its answer, and NotApplicable where one that
    was made of it for an attack does.
    """
    if subject.encoding:
        from audit.activations import vectors

        return vectors.says(subject, items, prompts, progress)
    if subject.scorer is not None:
        return drawing.says(subject, items, progress)
    if subject.classes:
        return images.says(subject, items, progress)
    texts = [item.prompt for item in items] if prompts is None else list(prompts)
    lengths = [answer_length(subject, item, template) for item in items]
    ids = [
        _ids(subject, item, prompt, start, template, length)
        for item, prompt, start, length in zip(items, texts, begun or [""] * len(texts), lengths, strict=True)
    ]
    return _answers(subject, ids, _budget(lengths), None, progress)


def samples(
    subject: Subject,
    items: Sequence[Item],
    template: str,
    n: int,
    sampling: Sampling,
    progress: Callable[[float], None] | None = None,
) -> list[list[str]]:
    """`n` samples of each item's answer, cut at the first line break; the first of them do not depend on `n`."""
    lengths = [answer_length(subject, item, template) for item in items]
    ids = [_ids(subject, item, item.prompt, "", template, n) for item, n in zip(items, lengths, strict=True)]
    budget = _budget(lengths)
    draws = np.concatenate([sampling.uniforms(item, n)[:, :budget] for item in items]) if items else np.empty((0, 0))
    found = _answers(subject, [row for row in ids for _ in range(n)], budget, (sampling, draws), progress)
    return [found[i * n : (i + 1) * n] for i in range(len(items))]


def decode(
    subject: Subject, inputs: dict[str, Tensor], budget: int, pick: Callable[[Tensor, Tensor], Tensor] | None = None
) -> list[str]:
    """What a subject says after such inputs, cut at the first line break; see `generated`."""
    return [text_of(subject, row) for row in generated(subject, inputs, budget, pick)]


def text_of(subject: Subject, said: Sequence[int]) -> str:
    """Tokens that were said as text, cut at the first line break."""
    text = str(subject.tokenizer.decode(list(said), skip_special_tokens=True))
    return text.strip().split("\n")[0].strip()


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


def _ids(subject: Subject, item: Item, prompt: str, begun: str, template: str, answer: int) -> Encoded:
    """What an item is asked, with room for as many tokens as its answer has; TooLong or NotApplicable without."""
    own = not begun and prompt in (item.prompt, *item.paraphrases)
    what = f"Item {item.id}" if own else f"The prompt that is made of item {item.id} here"
    try:
        if begun:
            row = encode(subject.tokenizer, prompt, begun, template, item.image, what)
        else:
            row = question(subject.tokenizer, prompt, template, item.image, what)
        check_reads(subject.tokenizer, len(row) + answer, f"{what} with its answer")
    except TooLong as error:
        if own:
            raise
        raise NotApplicable(str(error)) from error
    return row


def rooms(subject: Subject, lengths: Sequence[int], budgets: Sequence[int]) -> list[int]:
    """Tokens that may follow prompts of these lengths: each one's budget, or what the model still reads after it."""
    reads = reading_length(subject.tokenizer)
    if reads is None:
        return list(budgets)
    return [min(budget, reads.tokens - length) for length, budget in zip(lengths, budgets, strict=True)]


def plan_answers(lengths: Sequence[int], budgets: Sequence[int], limit: int | None) -> list[list[int]]:
    """Which rows are asked together: by budget and length, at most BATCH rows and TOKENS padded tokens.

    A longer row goes alone. No row of a batch is led past `limit` tokens by the budget of another.
    """
    plan: list[list[int]] = []
    longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: (budgets[i], lengths[i])):
        whole = max(longest, lengths[i]) + budgets[i]  # budgets rise
        full = not plan or len(plan[-1]) == BATCH or (len(plan[-1]) + 1) * whole > TOKENS
        if full or (limit is not None and whole > limit):
            plan.append([])
            longest = 0
        plan[-1].append(i)
        longest = max(longest, lengths[i])
    return plan


def planned(subject: Subject, lengths: Sequence[int], budgets: Sequence[int]) -> list[list[int]]:
    """`plan_answers` for what a subject reads."""
    reads = reading_length(subject.tokenizer)
    return plan_answers(lengths, budgets, reads.tokens if reads else None)


def _answers(
    subject: Subject,
    ids: Sequence[Encoded],
    budget: int,
    drawn: tuple[Sampling, NDArray[np.float64]] | None,
    progress: Callable[[float], None] | None,
) -> list[str]:
    """One answer for each row of ids, batched by length; sampled where there are draws [rows, budget]."""
    lengths = [len(row) for row in ids]
    budgets = rooms(subject, lengths, [budget] * len(ids))
    answers = [""] * len(ids)
    done = 0
    for rows in planned(subject, lengths, budgets):
        inputs = left_padded(subject, [ids[i] for i in rows])
        pick = Draw(drawn[0], drawn[1][rows], inputs["input_ids"].shape[1]) if drawn else None
        found = generated(subject, inputs, max(budgets[i] for i in rows), pick)
        for i, said in zip(rows, found, strict=True):
            answers[i] = text_of(subject, said[: budgets[i]])
        done += len(rows)
        if progress:
            progress(done / len(ids))
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
