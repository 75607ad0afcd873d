"""Soft prompts: a few made-up embeddings after each question, optimised while the model stands still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.activations.encode import Encoded, reading_length
from audit.activations.generate import decode, pad_id, planned
from audit.activations.layers import decoder, unembed
from audit.errors import NotApplicable, NotIdentifiable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subjects.load import Subject


@dataclass(frozen=True)
class Budget:
    """The attacker's budget; the same for every subject."""

    tokens: int
    steps: int
    batch: int
    rate: float
    """Adam's rate in units of the root mean square of the starting embeddings."""


def optimise(
    subject: Subject,
    rows: Sequence[Encoded],
    budget: Budget,
    seed: int,
    each: bool,
    tick: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Embeddings that make the answers of `rows` likely: one prompt for all [1, tokens, width], or `each` its own.

    They stand between question and answer and start as embeddings of random tokens. Cross-entropy of the answer's
    tokens, Adam, float32; the model is never changed and no gradient is kept in it. Rows that share a prompt are drawn
    in batches; where each has its own, all are stepped together, `batch` at a time in memory. Raises NotIdentifiable
    when the loss is no longer a number.
    """
    import torch

    soft = _start(subject, len(rows) if each else 1, budget.tokens, seed)
    optimizer = torch.optim.Adam([soft], lr=budget.rate * float(soft.detach().square().mean().sqrt()))
    rng = np.random.default_rng(seed)
    order: list[int] = []
    for step in range(budget.steps):
        if each:
            parts = [list(range(i, min(i + budget.batch, len(rows)))) for i in range(0, len(rows), budget.batch)]
        else:
            while len(order) < budget.batch:
                order += rng.permutation(len(rows)).tolist()
            parts, order = [order[: budget.batch]], order[budget.batch :]
        optimizer.zero_grad()
        for part in parts:
            losses = -answer_logprobs(subject, [rows[i] for i in part], soft[part] if each else soft)
            loss = losses.sum() if each else losses.mean()
            if not torch.isfinite(loss):
                raise NotIdentifiable(
                    f"The attack broke: at step {step} the loss on {subject.spec.name} is not a number (rate "
                    f"{budget.rate:g}). Use a lower rate."
                )
            (found,) = torch.autograd.grad(loss, soft)
            soft.grad = found if soft.grad is None else soft.grad + found
        optimizer.step()
        tick(step + 1)
    return soft.detach()


def answer_logprobs(subject: Subject, rows: Sequence[Encoded], soft: Tensor) -> Tensor:
    """Mean log-probability of each row's answer tokens [rows], nats per token, with `soft` before the answer.

    Raises NotApplicable where the model does not read that much.
    """
    import torch

    embed = subject.model.get_input_embeddings()
    tokens = soft.shape[1]
    length = max(len(row) for row in rows) + tokens
    check_room(subject, length, f"The longest item with {tokens} more tokens and its answer")
    ids = torch.full((len(rows), length), pad_id(subject), device=subject.device)
    inside = torch.zeros((len(rows), length), dtype=torch.bool, device=subject.device)
    for i, row in enumerate(rows):
        whole = [*row.ids[: row.start], *[pad_id(subject)] * tokens, *row.ids[row.start :]]
        ids[i, : len(whole)] = torch.tensor(whole, device=subject.device)
        inside[i, row.start + tokens : len(whole)] = True
    starts = torch.tensor([row.start for row in rows], device=subject.device)
    places = (starts[:, None] + torch.arange(tokens, device=subject.device))[..., None]
    hard = embed(ids).detach()
    wide = soft.to(hard.dtype).expand(len(rows), -1, -1)
    embeds = hard.scatter(1, places.expand(-1, -1, hard.shape[-1]), wide)
    # Causal models never look right: padding on the right needs no mask. Logits of the answers' tokens only.
    hidden = decoder(subject.model)(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, :-1]
    wanted = inside[:, 1:]
    logits = unembed(subject.model)(hidden[wanted]).float()
    logprobs = torch.log_softmax(logits, dim=-1).gather(1, ids[:, 1:][wanted][:, None])[:, 0]
    which = torch.arange(len(rows), device=subject.device)[:, None].expand_as(wanted)[wanted]
    sums = torch.zeros(len(rows), device=subject.device).index_add(0, which, logprobs)
    return sums / wanted.sum(1)


def says_softly(subject: Subject, prompts: Sequence[Sequence[int]], soft: Tensor, budget: int) -> list[str]:
    """Greedy answers after each prompt and its soft prompt ([1 or prompts, tokens, width]).

    Raises NotApplicable where the model does not read that much.
    """
    import torch

    embed = subject.model.get_input_embeddings()
    said = [""] * len(prompts)
    lengths = [len(row) + soft.shape[1] for row in prompts]
    check_room(
        subject,
        max(lengths, default=0) + budget,
        f"The longest question with {soft.shape[1]} more tokens and {budget} for the answer",
    )
    for places in planned(subject, lengths, [budget] * len(prompts)):
        rows = [prompts[i] for i in places]
        length = max(len(row) for row in rows)
        fill = [length - len(row) for row in rows]
        ids = [[pad_id(subject)] * n + list(row) for row, n in zip(rows, fill, strict=True)]
        mask = [[0] * n + [1] * (length - n + soft.shape[1]) for n in fill]
        with torch.inference_mode():
            hard = embed(torch.tensor(ids, device=subject.device))
            own = soft[places] if len(soft) > 1 else soft.expand(len(rows), -1, -1)
            embeds = torch.cat([hard, own.to(hard.dtype)], dim=1)
        inputs = {"inputs_embeds": embeds, "attention_mask": torch.tensor(mask, device=subject.device)}
        for i, text in zip(places, decode(subject, inputs, budget), strict=True):
            said[i] = text
    return said


def check_room(subject: Subject, tokens: int, what: str) -> None:
    """Raise NotApplicable when what an attack makes has more tokens than the model reads."""
    reads = reading_length(subject.tokenizer)
    if reads is not None and tokens > reads.tokens:
        raise NotApplicable(f"{what} need {tokens} tokens, but {reads.name} reads at most {reads.tokens}.")


def embedded(subject: Subject, ids: NDArray[np.int64]) -> Tensor:
    """The model's own embeddings of token ids [..., tokens] → [..., tokens, width]."""
    import torch

    with torch.no_grad():
        return subject.model.get_input_embeddings()(torch.from_numpy(ids).to(subject.device))


def _start(subject: Subject, count: int, tokens: int, seed: int) -> Tensor:
    vocabulary = subject.model.get_input_embeddings().weight.shape[0]
    index = np.random.default_rng(seed).integers(vocabulary, size=(count, tokens))
    return embedded(subject, index).float().clone().requires_grad_(True)
