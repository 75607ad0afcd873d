"""Steering: a direction added to the hidden states at the last prompt token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.layers import decoder_layers
from audit.evidence.concepts._answers import answers_of, batches, first_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from audit.activations.batch import Batch
    from audit.bench import Bench
    from audit.subjects.load import Subject
    from audit.types import Item, Role


def steered(
    bench: Bench, role: Role, items: Sequence[Item], block: int, deltas: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Log-probability of each item's first answer token with each delta added [1 + deltas, items]; the first without.

    `deltas` [deltas, items, width] are added to the output of a block, counted from 1, at the last prompt token.
    """
    import torch

    found = np.empty((1 + len(deltas), len(items)))
    with bench.model(role) as subject:
        rows = first_tokens(subject, items, bench.case.template)
        for places, batch in batches(subject, rows):
            found[0, places] = answers_of(subject, batch)[0]
            for k, delta in enumerate(deltas, start=1):
                with adding(subject, batch, block, torch.from_numpy(np.ascontiguousarray(delta[places]))):
                    found[k, places] = answers_of(subject, batch)[0]
    return found


@contextmanager
def adding(subject: Subject, batch: Batch, block: int, delta: Tensor) -> Iterator[None]:
    """While open, `delta` [rows, width] is added to the output of a block, from 1, at each row's last prompt token."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[batch.index, batch.prompt_last] += delta.to(hidden.device, hidden.dtype)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = decoder_layers(subject.model)[block - 1].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
