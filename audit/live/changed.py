"""Models changed inside for one question: features scaled, value vectors taken out. No weight is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.cache import Cache
from audit.errors import CaseError, NotApplicable
from audit.live.models import Models

if TYPE_CHECKING:
    from torch import Tensor

    from audit.activations.encode import Encoded
    from audit.dictionaries.intervene import Add
    from audit.subjects.load import Subject

COLUMNS = ["subject", "change", "probability", "says first", "others"]
OTHERS = 3


@dataclass(frozen=True)
class Changes:
    """What is changed in every model that is asked; the default changes nothing."""

    layer: int = 0
    """Block (from 1) of the dictionary whose features are scaled."""
    features: tuple[int, ...] = ()
    scale: float = 1.0
    """What their activations are multiplied by; 1 changes nothing, 0 takes them away."""
    vectors: tuple[tuple[int, int], ...] = ()
    """Value vectors that are taken out, as block and dimension, both from 0."""

    def __bool__(self) -> bool:
        return bool(self.features) or bool(self.vectors)

    def in_words(self) -> str:
        """What is changed, in one phrase; empty for nothing."""
        parts = []
        if self.features:
            names = ", ".join(map(str, self.features))
            parts.append(f"features {names} of block {self.layer} × {self.scale:g}")
        if self.vectors:
            parts.append(f"without value vectors {', '.join(f'{block}:{dim}' for block, dim in self.vectors)}")
        return "; ".join(parts)


class Live:
    """The original, the reference and one candidate of a run, asked about an item as they are and changed."""

    def __init__(
        self,
        case_file: Path,
        candidate: str,
        *,
        root: Path | None = None,
        cache: Cache | None = None,
        models: Models | None = None,
    ) -> None:
        self.models = models or Models(case_file, root=root, cache=cache)
        self.bench = self.models.bench(candidate)

    def features(self, item: str, layer: int, features: Sequence[int], scale: float) -> pd.DataFrame:
        """Each model's answer to one item as it is and with some features of a block scaled, columns COLUMNS.

        Scale 1 changes nothing, 0 takes the features away. Raises CaseError for a block without a dictionary.
        """
        self.models.item(item)
        changes = Changes(layer, tuple(features), scale)
        add = adding(self.models, changes)
        return self._both(item, f"features × {scale:g}", lambda subject, row: _logits(subject, row, layer, add))

    def vector(self, item: str, block: int, dim: int) -> pd.DataFrame:
        """Each model's answer to one item as it is and with one value vector (both from 0) taken out."""

        def asked(subject: Subject, row: Encoded) -> Tensor:
            with without(subject, ((block, dim),)):
                return _logits(subject, row)

        return self._both(item, "vector taken out", asked)

    def _both(self, item: str, change: str, asked: Callable[[Subject, Encoded], Tensor]) -> pd.DataFrame:
        from audit.activations.encode import encode_item

        found = self.models.item(item)
        rows = []
        for role in self.bench.roles:
            spec = self.bench.case.subject(role)
            name = spec.name if role == "candidate" else role
            if reason := self.models.unseen(spec):
                raise NotApplicable(reason)
            with self.models.lend(name) as subject, self.models.alone(subject):
                row = encode_item(subject.tokenizer, found, self.bench.case.template)
                for kind, logits in (("as it is", _logits(subject, row)), (change, asked(subject, row))):
                    rows.append((name, kind, *_read(subject, row, logits)))
        return pd.DataFrame(rows, columns=COLUMNS)


def adding(models: Models, changes: Changes) -> Add:
    """What the scaled features add to the output of their block; CaseError for a block or feature that is not there."""
    import numpy as np

    from audit.evidence.sae.clamp import scaled

    found = models.dictionary(changes.layer)
    beyond = [f for f in changes.features if not 0 <= f < found.features]
    if beyond:
        raise CaseError(
            f"There is no feature {beyond[0]}: block {changes.layer} has features 0 to {found.features - 1}."
        )
    return scaled(found, np.asarray(changes.features, np.intp), changes.scale)


@contextmanager
def changing(models: Models, subject: Subject, changes: Changes, begin: int) -> Iterator[None]:
    """While open, a model is changed: features from position `begin` of what is read on, value vectors everywhere.

    Whoever opens it has it `alone`. Raises NotApplicable for a system of which no inner state is seen.
    """
    if changes and (reason := models.unseen(subject.spec)):
        raise NotApplicable(reason)
    with ExitStack() as stack:
        if changes.features:
            stack.enter_context(_adding(subject, changes.layer, adding(models, changes), begin))
        if changes.vectors:
            stack.enter_context(without(subject, changes.vectors))
        yield


@contextmanager
def without(subject: Subject, vectors: Sequence[tuple[int, int]]) -> Iterator[None]:
    """While open, some value vectors (block and dimension, from 0) write nothing; CaseError for one not there."""
    from audit.activations.mlp import mlp_outputs
    from audit.evidence.concepts._mlp import value_vectors, writing

    modules = mlp_outputs(subject.model)
    for block, dim in vectors:
        if not 0 <= block < len(modules) or not 0 <= dim < len(value_vectors(modules[block])):
            raise CaseError(f"There is no value vector {block}:{dim} in {subject.spec.name}.")

    def less(dims: list[int]) -> Callable[[Any, Tensor, Tensor], Tensor]:
        return lambda module, neurons, output: (
            output - neurons[..., dims] @ value_vectors(module)[dims].to(output.dtype)
        )

    blocks: Mapping[int, list[int]] = {b: [dim for block, dim in vectors if block == b] for b, _ in vectors}
    with writing(subject.model, {block: less(dims) for block, dims in blocks.items()}):
        yield


@contextmanager
def _adding(subject: Subject, layer: int, add: Add, begin: int) -> Iterator[None]:
    """While open, `add` is added to the output of a block (from 1) at every position of the one row from `begin` on.

    `begin` -1 is the last position of whatever is read: the prompt's, then each written token's.
    """
    from audit.activations.layers import decoder_layers

    def hook(module: Any, args: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        states = hidden[0, begin:]
        new = hidden.clone()
        new[0, begin:] = states + add(states, ()).to(states.device, states.dtype)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    handle = decoder_layers(subject.model)[layer - 1].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _logits(subject: Subject, row: Encoded, layer: int | None = None, add: Add | None = None) -> Tensor:
    """Logits of the first answer token [vocabulary]."""
    import torch

    from audit.activations.batch import Batch
    from audit.activations.layers import decoder, unembed
    from audit.dictionaries.intervene import adding_to

    batch = Batch([row], "right", subject.tokenizer.pad_token_id or 0, subject.device)
    hook = adding_to(subject.model, layer, batch, (0,), add) if layer is not None and add is not None else nullcontext()
    with torch.inference_mode(), hook:
        hidden = decoder(subject.model)(**batch.inputs, use_cache=False).last_hidden_state
        return unembed(subject.model)(hidden[batch.index, batch.prompt_last])[0]


def _read(subject: Subject, row: Encoded, logits: Tensor) -> tuple[float, str, str]:
    """Probability of the true first token, the token that is said first, and the next most likely ones."""
    shares = logits.float().softmax(-1)
    top = shares.topk(OTHERS + 1).indices.tolist()
    words = [subject.tokenizer.decode([token]).strip() or "␣" for token in top]
    return float(shares[row.ids[row.start]]), words[0], ", ".join(words[1:])
