"""Hidden states of one subject, patched into the forward pass of another at the tokens that predict the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.layers import decoder, decoder_layers
from audit.evidence.concepts._answers import answers_of, batches

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.activations.batch import Batch
    from audit.activations.encode import Encoded
    from audit.subjects.load import Subject

States = list[list["Tensor"]]
"""For each batch, the output of every block at the predicting tokens [tokens, width], on the CPU."""


def predicting(subject: Subject, rows: Sequence[Encoded]) -> States:
    """What every block puts out at the tokens whose next token belongs to the answer: the last prompt token and on."""
    import torch

    found: States = []
    for _, batch in batches(subject, rows):
        line: list[Tensor] = []

        def keep(block: int, hidden: Tensor) -> None:
            line.append(hidden[_places(batch)].cpu())  # noqa: B023  called within this turn of the loop

        with _at_blocks(subject, keep), torch.inference_mode():
            decoder(subject.model)(**batch.inputs, use_cache=False)
        found.append(line)
    return found


def patched(subject: Subject, rows: Sequence[Encoded], source: States) -> NDArray[np.float64]:
    """Mean log-probability of each row's answer tokens in nats [1 + blocks, rows]: plain, then with each block patched.

    `source` holds the states of the same rows in the other subject. Its own states leave every number as it was.
    """
    blocks = len(decoder_layers(subject.model))
    found = np.empty((1 + blocks, len(rows)))
    for (places, batch), states in zip(batches(subject, rows), source, strict=True):
        found[0, places] = answers_of(subject, batch)[0]
        for block in range(blocks):

            def put(at: int, hidden: Tensor, block: int = block) -> Tensor | None:
                if at != block:
                    return None
                changed = hidden.clone()
                changed[_places(batch)] = states[block].to(hidden.device, hidden.dtype)  # noqa: B023  as above
                return changed

            with _at_blocks(subject, put):
                found[1 + block, places] = answers_of(subject, batch)[0]
    return found


def _places(batch: Batch) -> tuple[Tensor, Tensor]:
    """Row and place of every token that predicts an answer token."""
    row, step = batch.inside.nonzero(as_tuple=True)
    return row, step + batch.first - 1


@contextmanager
def _at_blocks(subject: Subject, call: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """While open, `call(block, hidden)` sees every block's output, from 0, and may return another in its place."""

    def hook(block: int) -> Callable[..., Any]:
        def after(module: Any, args: Any, output: Any) -> Any:
            whole = isinstance(output, tuple)
            changed = call(block, output[0] if whole else output)
            return None if changed is None else (changed, *output[1:]) if whole else changed

        return after

    layers = decoder_layers(subject.model)
    handles = [layer.register_forward_hook(hook(block)) for block, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
