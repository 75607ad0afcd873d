"""What a subject's own unembedding reads out of its inner states, projected once for every evidence that needs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.errors import CaseError
from audit.stats import Scores
from audit.types import Role, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.bench import Bench

BUDGET = 20
"""Tokens that an attacker may look at in all, the same for every attack on inner layers (UnLOK-VQA: 20 everywhere)."""
LOGIT_BUDGET = 2**26
"""Numbers in one block of logits (0.25 GiB as float32)."""
HEAD, FIRST, SECOND = "head", "first", "second"


@dataclass(frozen=True)
class Candidates:
    """Settings of the attacks that look at a few tokens in each of some layers."""

    k: int = 4
    """Tokens looked at in each layer."""
    layers: tuple[int, ...] = ()
    """Blocks looked at, from 1; empty means the last ones, at most half of them and 20 tokens in all."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise CaseError("k = 0: an attacker who looks at no token finds nothing; expected at least 1.")
        if any(type(layer) is not int or layer < 1 for layer in self.layers):
            raise CaseError(f"layers = {list(self.layers)}: expected numbers of blocks from 1, such as [3, 4].")

    def chosen(self, blocks: int) -> list[int]:
        """The blocks looked at, from 1, in order; raises CaseError for a block that the model has not."""
        beyond = [layer for layer in self.layers if layer > blocks]
        if beyond:
            raise CaseError(f"layers names block {beyond[0]}, but the models have {blocks}.")
        first = blocks - min(blocks - blocks // 2, max(1, BUDGET // self.k)) + 1
        return sorted(set(self.layers or range(first, blocks + 1)))


def scores(bench: Bench, split: Split, values: NDArray) -> Scores:
    """One number for each item of a corpus [items] as scores."""
    corpus = bench.corpus(split)
    return Scores([item.id for item in corpus.items], corpus.entities, np.asarray(values, np.float64))


def first_tokens(bench: Bench, role: Role, split: Split) -> NDArray[np.int64]:
    """Id of the first answer token of each item [items], in corpus order."""
    rows = bench.likelihood(role, split)
    return rows.loc[rows["variant"] == "answer", "first_token"].to_numpy(np.int64, copy=True)


def ranks(bench: Bench, role: Role, split: Split) -> dict[str, NDArray[np.int64]]:
    """Rank of the first answer token at the last prompt token, 1 is the first; ties count against the answer.

    `head` [blocks, items]: among the logits of each block. With p_l the probabilities that the head reads from block
    l and p_0 those of its input: `first top` [blocks, items] among p_l - p_(l-1) from the largest, `first bottom` from
    the smallest; `second top` and `second bottom` [blocks - 1, items] among (p_l - p_(l-1)) - (p_(l-1) - p_(l-2)), for
    the blocks from the second on.
    """
    states, tokens = bench.states(role, split), first_tokens(bench, role, split)

    def compute() -> dict[str, np.ndarray]:
        import torch

        from audit.activations.layers import head

        with bench.model(role) as subject, torch.inference_mode():
            project = head(subject.model)
            step = max(1, LOGIT_BUDGET // int(subject.model.config.get_text_config().vocab_size) // 4)
            inner = [torch.from_numpy(states.at(layer, "prompt_last")) for layer in range(states.layers)]
            parts = []
            for begin in range(0, len(tokens), step):
                bench.progress(begin / len(tokens), f"projecting the inner states of the {role} on {split}")
                wanted = torch.from_numpy(tokens[begin : begin + step])
                logits = (project(line[begin : begin + step].to(subject.device)) for line in inner)
                parts.append(differences(logits, wanted))
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

    return bench.remember("lens ranks", [role], {"split": split}, compute, corpora=(split,))


def differences(logits: Iterator[Tensor], wanted: Tensor) -> dict[str, NDArray[np.int64]]:
    """`ranks` of some items from the logits of input and blocks, each [items, vocabulary], and their tokens [items]."""
    found: dict[str, list[NDArray[np.int64]]] = {}

    def note(name: str, values: Tensor, both: bool = True) -> None:
        answer = values.gather(1, wanted.to(values.device)[:, None])
        found.setdefault(f"{name} top" if both else name, []).append((values >= answer).sum(1).cpu().numpy())
        if both:
            found.setdefault(f"{name} bottom", []).append((values <= answer).sum(1).cpu().numpy())

    before = change = None
    for place, line in enumerate(logits):
        if place:
            note(HEAD, line, both=False)
        now = line.float().softmax(-1)
        if before is not None:
            step = now - before
            note(FIRST, step)
            if change is not None:
                note(SECOND, step - change)
            change = step
        before = now
    return {name: np.stack(lines) for name, lines in found.items()}


def first_token_ranks(bench: Bench, role: Role, split: Split) -> NDArray[np.int64]:
    """Rank of the first answer token in the head projection of every block [blocks, items]; 1 is the top."""
    return ranks(bench, role, split)[HEAD]
