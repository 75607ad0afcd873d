"""Greedy coordinate gradient: a search for a suffix of real tokens that makes some answers likely."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.activations.encode import Encoded
from audit.evidence.attacks._soft import answer_logprobs, embedded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.subjects.load import Subject

ROWS = 64
"""Sequences in memory at a time."""


@dataclass(frozen=True)
class Search:
    """The attacker's budget; the same for every subject."""

    tokens: int
    steps: int
    candidates: int
    top: int
    batch: int
    seconds: int


@dataclass(frozen=True)
class Suffix:
    """What a search found: token ids, the steps it took, and the loss on all taught rows before and after."""

    ids: NDArray[np.int64]
    steps: int
    before: float
    after: float


def search(
    subject: Subject, rows: Sequence[Encoded], budget: Search, seed: int, tick: Callable[[int, float], None]
) -> Suffix:
    """Look for the suffix between question and answer that makes the answers of `rows` most likely.

    Each step takes the gradient of the loss with respect to the suffix's embeddings, lists for every place the `top`
    tokens that it promises most of, tries `candidates` single exchanges and keeps the best if it is better on the same
    batch (Zou et al. 2023). It ends after `steps` or `seconds`, whichever is first. `tick` hears the step and the loss.
    """
    import torch

    began = time.monotonic()
    rng = np.random.default_rng(seed)
    usable = _usable(subject)
    suffix = start(subject, budget.tokens, seed)
    before = _loss(subject, rows, suffix[None])[0]
    table = subject.model.get_input_embeddings().weight.detach().float()
    done = 0
    for step in range(1, budget.steps + 1):
        if time.monotonic() - began > budget.seconds:
            break
        batch = [rows[int(i)] for i in rng.permutation(len(rows))[: budget.batch]]
        soft = embedded(subject, suffix[None]).float().requires_grad_(True)
        loss = -answer_logprobs(subject, batch, soft).mean()
        (gradient,) = torch.autograd.grad(loss, soft)
        promise = -(gradient[0] @ table.T)
        promise[:, torch.from_numpy(~usable).to(promise.device)] = -torch.inf
        best = promise.topk(min(budget.top, int(usable.sum())), dim=1).indices.cpu().numpy()
        tried = np.repeat(suffix[None], budget.candidates + 1, axis=0)  # the last stays as it is
        places = rng.integers(budget.tokens, size=budget.candidates)
        tried[np.arange(budget.candidates), places] = best[places, rng.integers(best.shape[1], size=budget.candidates)]
        losses = _loss(subject, batch, tried)
        suffix = tried[int(np.argmin(losses))]
        done = step
        tick(step, float(losses.min()))
    return Suffix(suffix, done, float(before), float(_loss(subject, rows, suffix[None])[0]))


def start(subject: Subject, tokens: int, seed: int) -> NDArray[np.int64]:
    """A random suffix of usable tokens [tokens]: where a search begins, and the control that was not searched."""
    usable = np.flatnonzero(_usable(subject))
    return np.asarray(np.random.default_rng([seed, 1]).choice(usable, size=tokens), np.int64)


def _usable(subject: Subject) -> NDArray[np.bool_]:
    """Tokens that can be typed [vocabulary]: printable text, not special, and read back as themselves."""
    tokenizer = subject.tokenizer
    size = subject.model.get_input_embeddings().weight.shape[0]
    special = set(tokenizer.all_special_ids)
    ids = range(min(size, len(tokenizer)))
    texts = tokenizer.batch_decode([[i] for i in ids])
    read = tokenizer(texts, add_special_tokens=False)["input_ids"]
    usable = np.zeros(size, bool)
    for i, text, back in zip(ids, texts, read, strict=True):
        usable[i] = i not in special and bool(text.strip()) and text.isprintable() and list(back) == [i]
    return usable if usable.any() else ~np.isin(np.arange(size), sorted(special))


def _loss(subject: Subject, rows: Sequence[Encoded], suffixes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean loss of the rows under each suffix [suffixes], ROWS sequences at a time."""
    import torch

    pairs = [(k, row) for k in range(len(suffixes)) for row in rows]
    losses = np.zeros(len(suffixes))
    with torch.inference_mode():
        for begin in range(0, len(pairs), ROWS):
            part = pairs[begin : begin + ROWS]
            soft = embedded(subject, suffixes[[k for k, _ in part]])
            found = -answer_logprobs(subject, [row for _, row in part], soft)
            np.add.at(losses, [k for k, _ in part], found.double().cpu().numpy())
    return losses / len(rows)
