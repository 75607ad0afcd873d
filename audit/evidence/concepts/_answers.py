"""How likely a model finds the answers, in batches; hooks that were set before change what it finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from audit.activations.batch import Batch
from audit.activations.capture import LOGIT_BUDGET, TOKEN_BUDGET, plan_batches
from audit.activations.encode import Encoded, encode_item
from audit.activations.layers import decoder, unembed
from audit.types import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.subjects.load import Subject


def whole_answers(subject: Subject, items: Sequence[Item], template: str) -> list[Encoded]:
    """Prompt and answer of each item as token ids."""
    return [encode_item(subject.tokenizer, item, template) for item in items]


def first_tokens(subject: Subject, items: Sequence[Item], template: str) -> list[Encoded]:
    """As `whole_answers`, cut after the answer's first token: all that is asked for at the last prompt token."""
    return [Encoded(row.ids[: row.start + 1], row.start, row.shown) for row in whole_answers(subject, items, template)]


def batches(subject: Subject, rows: Sequence[Encoded]) -> Iterator[tuple[NDArray[np.intp], Batch]]:
    """The rows in batches of like length: which rows, and the batch."""
    plan = plan_batches(rows, TOKEN_BUDGET[subject.device.type])
    pad = subject.tokenizer.pad_token_id
    for begin, end in plan.batches:
        places = np.asarray(plan.order[begin:end], np.intp)
        yield places, Batch([rows[i] for i in places], "right", int(pad) if pad is not None else 0, subject.device)


def likelihoods(subject: Subject, rows: Sequence[Encoded]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean log-probability of each row's answer tokens in nats [rows], and whether all of them are the top [rows]."""
    mean, top = np.empty(len(rows)), np.empty(len(rows), bool)
    for places, batch in batches(subject, rows):
        mean[places], top[places] = answers_of(subject, batch)
    return mean, top


def answers_of(subject: Subject, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """`likelihoods` of one batch."""
    import torch

    with torch.inference_mode():
        hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
        vocabulary = subject.model.get_output_embeddings().weight.shape[0]
        found = batch.answer_tokens(hidden, unembed(subject.model), max(1, LOGIT_BUDGET // vocabulary))
    counts = np.asarray([len(row) - row.start for row in batch.rows])
    begins = np.cumsum(counts) - counts
    mean = np.add.reduceat(found["logprob"].astype(np.float64), begins) / counts
    return mean, np.logical_and.reduceat(found["top1"], begins)
