"""How good a dictionary is on the original: without that, what its features say about another model means nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audit.activations.batch import Batch
from audit.activations.encode import Encoded, encode_item
from audit.activations.layers import decoder, decoder_layers, unembed
from audit.dictionaries.source import Dictionary, held_out_tokens
from audit.errors import NotIdentifiable

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from audit.bench import Bench
    from audit.subjects.load import Subject

MOST_UNEXPLAINED = 0.3
LEAST_RECOVERED = 0.7
SPLICED = 64
"""Items whose answers are read with the reconstruction in place of the states."""


@dataclass(frozen=True)
class Quality:
    """What a dictionary does to the original's own states."""

    l0: float
    """Features that fire at a token, on average."""
    unexplained: float
    """Unexplained variance of tokens that were not trained on, 0 is perfect, 1 as bad as the mean."""
    dead: float
    """Share of features that fire at no token of the corpora, 0 to 1."""
    recovered: float
    """Loss recovered: 1 when the answers are as likely with the reconstruction, 0 as with the mean state."""

    @property
    def good(self) -> bool:
        """Whether its features may stand for the states."""
        return self.unexplained <= MOST_UNEXPLAINED and self.recovered >= LEAST_RECOVERED

    def __str__(self) -> str:
        return (
            f"{self.l0:.1f} features at a token, {self.unexplained:.1%} of the variance unexplained, "
            f"{self.dead:.0%} of the features dead, {self.recovered:.0%} of the loss recovered"
        )


def quality(bench: Bench, dictionary: Dictionary) -> Quality:
    """Measure a dictionary on the original; once per dictionary."""

    def compute() -> dict[str, np.ndarray]:
        parts = [(bench.whole("original", split), split) for split in ("forget", "retain") if bench.has(split)]
        fired = np.zeros(dictionary.features, bool)
        l0, wrong, total, tokens = 0.0, 0.0, 0.0, 0
        for whole, _ in parts:
            states = whole.at(dictionary.layer)
            held = states[held_out_tokens(whole)]
            fired |= (dictionary.encode(states) > 0).any(0)
            active = dictionary.encode(held)
            l0 += float((active > 0).sum())
            tokens += len(held)
            wrong += float(np.square(held - dictionary.decode(active), dtype=np.float64).sum())
            total += float(np.square(held - states.mean(0), dtype=np.float64).sum())
        recovered = _recovered(bench, dictionary)
        return {"quality": np.array([l0 / max(tokens, 1), wrong / max(total, 1e-12), 1 - fired.mean(), recovered])}

    inputs = {"dictionary": dictionary.digest, "layer": dictionary.layer}
    stored = bench.remember("dictionary quality", ["original"], inputs, compute)["quality"]
    return Quality(*(float(value) for value in stored))


def insist(bench: Bench, dictionary: Dictionary) -> Quality:
    """The quality, or NotIdentifiable with its numbers when the dictionary does not describe the original."""
    found = quality(bench, dictionary)
    if not found.good:
        raise NotIdentifiable(
            f"The dictionary for block {dictionary.layer} ({dictionary.name}) does not describe the original: {found}; "
            f"at most {MOST_UNEXPLAINED:.0%} unexplained and at least {LEAST_RECOVERED:.0%} recovered are needed. "
            "Train it longer or with more features, or name another."
        )
    return found


def _recovered(bench: Bench, dictionary: Dictionary) -> float:
    """(loss with the mean state - loss with the reconstruction) / (loss with the mean state - own loss)."""
    import torch

    items = [bench.corpus("retain").items[i] for i in bench.subset("retain", SPLICED)]
    whole = bench.whole("original", "retain")
    mean = torch.from_numpy(whole.at(dictionary.layer).mean(0))

    def rebuilt(states: Tensor) -> Tensor:
        flat = states.reshape(-1, states.shape[-1]).float().cpu()
        return dictionary.sae.decode(dictionary.sae.encode(flat)).reshape(states.shape)

    with bench.model("original") as subject, torch.inference_mode():
        rows = [encode_item(subject.tokenizer, i, bench.case.template) for i in items]
        own = _loss(subject, rows, dictionary.layer, None)
        spliced = _loss(subject, rows, dictionary.layer, rebuilt)
        ablated = _loss(subject, rows, dictionary.layer, lambda states: mean.expand(states.shape))
    return float((ablated - spliced) / (ablated - own)) if ablated > own else 0.0


def _loss(subject: Subject, rows: list[Encoded], layer: int, change: Callable[[Tensor], Tensor] | None) -> float:
    """Mean negative log-probability of an answer token, a block's output changed everywhere but at the first token."""
    batch = Batch(rows, "right", subject.tokenizer.pad_token_id or 0, subject.device)

    def hook(module: Any, args: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        if change is None:
            return output
        new = hidden.clone()
        new[:, 1:] = change(hidden[:, 1:]).to(hidden.device, hidden.dtype)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = decoder_layers(subject.model)[layer - 1].register_forward_hook(hook)
    try:
        hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
    finally:
        handle.remove()
    return -float(batch.answer_tokens(hidden, unembed(subject.model), 2**12)["logprob"].mean())
