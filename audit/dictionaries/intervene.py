"""Changing what a block puts out at the last prompt token, and reading what the model then answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.batch import Batch
from audit.activations.capture import plan_batches
from audit.activations.encode import Encoded
from audit.activations.layers import decoder, decoder_layers, unembed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PreTrainedModel

    from audit.subjects.load import Subject

TOKEN_BUDGET = 4096
Add = Callable[["Tensor", Sequence[int]], "Tensor"]
"""States [rows, width] and which rows they are → what is added to them."""


def first_token(
    subject: Subject,
    rows: Sequence[Encoded],
    layer: int | None = None,
    add: Add | None = None,
) -> NDArray[np.float64]:
    """Probability of the first answer token of each row, and whether it is the most likely one [rows, 2].

    `add(states, rows)` gives what is added to the output of block `layer` (from 1) at the last prompt token
    [rows, width]; the error that a dictionary does not explain stays where it is. Adding zeros changes no bit.
    """
    import torch

    result = np.empty((len(rows), 2))
    plan = plan_batches(list(rows), TOKEN_BUDGET)
    for begin, end in plan.batches:
        chosen = plan.order[begin:end]
        batch = Batch([rows[i] for i in chosen], "right", subject.tokenizer.pad_token_id or 0, subject.device)
        changed = nullcontext() if layer is None or add is None else adding_to(subject.model, layer, batch, chosen, add)
        with torch.inference_mode(), changed:
            hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
            logits = unembed(subject.model)(hidden[batch.index, batch.prompt_last])
        target = batch.ids[batch.index, batch.prompt_last + 1].to(logits.device)
        result[list(chosen), 0] = logits.softmax(-1).gather(1, target[:, None])[:, 0].double().cpu().numpy()
        result[list(chosen), 1] = (logits.argmax(-1) == target).double().cpu().numpy()
    return result


@contextmanager
def adding_to(model: PreTrainedModel, layer: int, batch: Batch, rows: Sequence[int], add: Add) -> Iterator[None]:
    """While open, `add` is added to the output of a block (from 1) at the last prompt token of every row."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        states = hidden[batch.index, batch.prompt_last]
        new = hidden.clone()
        new[batch.index, batch.prompt_last] = states + add(states, rows).to(states.device, states.dtype)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = decoder_layers(model)[layer - 1].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
