"""How many facts a model says when asked: the check that a built model is what it claims to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit.lab.data import IGNORE, collate, encode
from audit.lab.losses import scores, sum_per_row
from audit.lab.people import Fact, wordings

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase


def recall(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, facts: Sequence[Fact], wording: int = 0
) -> float:
    """Share of the facts whose answer tokens are each the model's first choice, from 0 to 1.

    `wording` 0 asks the question, higher ones the paraphrases.
    """
    import torch

    sequences = encode(tokenizer, [(wordings(fact)[wording], fact["answer"]) for fact in facts])
    batch = collate(sequences, range(len(sequences)))
    given = batch.answers[:, 1:] != IGNORE
    with torch.inference_mode():
        said = scores(model, batch, given).argmax(-1)
    wrong = sum_per_row((said != batch.answers[:, 1:][given]).float(), batch.answers)
    return float((wrong == 0).float().mean())
