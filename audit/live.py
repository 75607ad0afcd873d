"""Asking the models of a run while something inside them is changed: features scaled, value vectors taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from audit.bench import Bench
from audit.cache import Cache
from audit.errors import CaseError
from audit.progress import read_progress
from audit.store import Run
from audit.types import Item

if TYPE_CHECKING:
    from torch import Tensor

    from audit.activations.encode import Encoded
    from audit.dictionaries.intervene import Add
    from audit.subjects.load import Subject

COLUMNS = ["subject", "change", "probability", "says first", "others"]
OTHERS = 3


def case_file_of(run: Run) -> Path:
    """The case file that a run was made from; CaseError when it is not on this machine."""
    recorded = read_progress(run.path).case
    name = str(run.plan.get("case_file", "case.toml"))
    for path in (Path(recorded) if recorded else None, run.path.parent / name, run.path / name):
        if path is not None and path.is_file():
            return path
    raise CaseError(f"The case file of this run ({name}) is not on this machine, so its models cannot be loaded.")


class Live:
    """The original, the reference and one candidate of a run, loaded when they are first asked."""

    def __init__(
        self, case_file: Path, candidate: str, *, root: Path | None = None, cache: Cache | None = None
    ) -> None:
        from audit.casefile import read_plan
        from audit.subjects.garage import Garage

        cases = read_plan(case_file, root=root).cases()
        case = next((case for case in cases if case.candidate.name == candidate), None)
        if case is None:
            raise CaseError(f'The case file {case_file} has no candidate "{candidate}".')
        self.bench = Bench(case, Garage("auto"), cache, audit=cases)

    def features(self, item: str, layer: int, features: Sequence[int], scale: float) -> pd.DataFrame:
        """Each model's answer to one item as it is and with some features of a block scaled, columns COLUMNS.

        Scale 1 changes nothing, 0 takes the features away. Raises CaseError for a block without a dictionary.
        """
        import numpy as np

        from audit.dictionaries.source import dictionaries
        from audit.evidence.sae.clamp import scaled

        found = next((d for d in dictionaries(self.bench) if d.layer == layer), None)
        if found is None:
            raise CaseError(f"There is no dictionary for block {layer} in this case.")
        add = scaled(found, np.asarray(features, np.intp), scale)
        return self._both(item, f"features × {scale:g}", lambda subject, row: _logits(subject, row, layer, add))

    def vector(self, item: str, block: int, dim: int) -> pd.DataFrame:
        """Each model's answer to one item as it is and with one value vector (both from 0) taken out."""
        from audit.evidence.concepts._mlp import value_vectors, writing

        def without(module: Any, neurons: Tensor, output: Tensor) -> Tensor:
            return output - neurons[..., dim : dim + 1] * value_vectors(module)[dim].to(output.dtype)

        def asked(subject: Subject, row: Encoded) -> Tensor:
            with writing(subject.model, {block: without}):
                return _logits(subject, row)

        return self._both(item, "vector taken out", asked)

    def _both(self, item: str, change: str, asked: Callable[[Subject, Encoded], Tensor]) -> pd.DataFrame:
        from audit.activations.encode import encode

        found = self._item(item)
        rows = []
        for role in self.bench.roles:
            name = self.bench.case.subject(role).name if role == "candidate" else role
            with self.bench.model(role) as subject:
                row = encode(subject.tokenizer, found.prompt, found.answer, self.bench.case.template)
                for kind, logits in (("as it is", _logits(subject, row)), (change, asked(subject, row))):
                    rows.append((name, kind, *_read(subject, row, logits)))
        return pd.DataFrame(rows, columns=COLUMNS)

    def _item(self, id: str) -> Item:
        split: Any = id.split(":")[0]
        item = next((i for i in self.bench.corpus(split).items if i.id == id), None)
        if item is None:
            raise CaseError(f"There is no item {id} in this case.")
        return item


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
