"""Which value vectors carry the forget answers: chosen on one half of the entities, for use on the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.activations.mlp import mlp_outputs
from audit.errors import CaseError, NotIdentifiable
from audit.evidence.concepts._answers import answers_of, batches, first_tokens
from audit.evidence.concepts._given import given_vectors
from audit.evidence.concepts._mlp import reading, value_vectors
from audit.stats import halves
from audit.types import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from audit.activations.encode import Encoded
    from audit.bench import Bench
    from audit.subjects.load import Subject


@dataclass(frozen=True)
class Chosen:
    """Two pools of value vectors and how much each writes towards the answers of each item."""

    pools: NDArray[np.int64]
    """Block and neuron, both from 0, of each vector of both pools [2, vectors, 2]; pool 0 scores the first half."""
    carried: NDArray[np.float64]
    """Attribution of each item's own pool [items, vectors]: the pool that was chosen without the item's entity."""
    first: NDArray[np.bool_]
    """Whether an item is in the first half [items]."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """How much of what the pool writes towards an item's answer each vector writes [items, vectors].

        Rows sum to 1; a row of zeros where no vector of the pool writes towards the answer at all.
        """
        positive = np.clip(self.carried, 0.0, None)
        total = positive.sum(1, keepdims=True)
        return np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)


def choose(bench: Bench, split: Split, count: int, items: int, vectors: tuple[str, ...] = ()) -> Chosen:
    """The `count` vectors of the original that write most towards the forget answers, and what they do on a split.

    Raises CaseError when the model lacks a named vector, NotApplicable when it has none at all, NotIdentifiable with
    fewer than two forget entities.
    """

    def compute() -> dict[str, NDArray]:
        import torch

        bench.progress(0.0, "looking for the value vectors that write the answers")
        with bench.model("original") as subject, torch.inference_mode():
            pools = _given(subject, vectors) if vectors else _top(bench, subject, count, items)
            rows, groups, first = _rows(bench, subject, split, items)
            carried = np.empty((len(rows), pools.shape[1]))
            for places, found in attributions(subject, rows, groups):
                for place, row in enumerate(places):
                    pool = pools[0 if first[row] else 1]
                    carried[row] = [float(found[block][place, neuron]) for block, neuron in pool]
        return {"pools": pools, "carried": carried}

    inputs = {"split": split, "count": count, "items": items, "vectors": list(vectors)}
    stored = bench.remember("concepts.selection", ["original"], inputs, compute, tuple({"forget", split}))
    return Chosen(stored["pools"], stored["carried"], _halves(bench, split, items))


def attributions(
    subject: Subject, rows: Sequence[Encoded], groups: Sequence[str | None]
) -> Iterator[tuple[NDArray[np.intp], list[Tensor]]]:
    """What every neuron writes towards the first answer token, batch by batch: rows, and per block [rows, neurons].

    Activation at the last prompt token times (value vector . (unembedding of the token - mean unembedding of the
    answers of the same group)), before the final norm: how much it lifts this answer above others of its kind.
    """
    towards = _contrast(subject, rows, groups)
    for places, batch in batches(subject, rows):
        wanted = towards[places]
        found: list[Tensor] = []

        def read(block: int, module: nn.Module, neurons: Tensor) -> None:
            at = neurons[batch.index, batch.prompt_last].float()  # noqa: B023  read within this turn of the loop
            found.append((at * (wanted.to(at.device) @ value_vectors(module).T)).cpu())  # noqa: B023

        with reading(subject.model, read):
            answers_of(subject, batch)
        yield places, found


def _contrast(subject: Subject, rows: Sequence[Encoded], groups: Sequence[str | None]) -> Tensor:
    """Unembedding of each row's first answer token minus the mean over its group [rows, width].

    A group whose answers all begin alike is compared with all rows.
    """
    import torch

    head: Tensor = subject.model.get_output_embeddings().weight  # type: ignore[assignment]
    tokens = [row.ids[row.start] for row in rows]
    written = head[torch.tensor(tokens, device=head.device)].float()
    result = written - written.mean(0)
    for group in set(groups):
        mine = [i for i, name in enumerate(groups) if name == group]
        if len({tokens[i] for i in mine}) > 1:
            result[mine] = written[mine] - written[mine].mean(0)
    return result


def _top(bench: Bench, subject: Subject, count: int, items: int) -> NDArray[np.int64]:
    """For each half of the forget entities the vectors that write most towards the answers of the other half."""
    import torch

    rows, groups, first = _rows(bench, subject, "forget", items)
    if first.all() or not first.any():
        raise NotIdentifiable("Value vectors are chosen on one half of the forget entities; there is only one entity.")
    sums: list[list[Tensor]] = [[], []]
    for places, found in attributions(subject, rows, groups):
        for pool, mine in enumerate((~first[places], first[places])):
            parts = [block[torch.from_numpy(mine)].sum(0, dtype=torch.float64) for block in found]
            sums[pool] = [a + b for a, b in zip(sums[pool], parts, strict=True)] if sums[pool] else parts
    widths = [len(block) for block in sums[0]]
    starts = np.cumsum(widths) - widths
    pools = []
    for totals in sums:
        best = torch.topk(torch.cat(totals), min(count, sum(widths))).indices.numpy()
        block = np.searchsorted(starts, best, side="right") - 1
        pools.append(np.stack([block, best - starts[block]], 1))
    return np.stack(pools).astype(np.int64)


def _given(subject: Subject, vectors: Sequence[str]) -> NDArray[np.int64]:
    """The vectors that a person named, for both halves; CaseError when the model has no such block or neuron."""
    modules, pairs = mlp_outputs(subject.model), given_vectors(vectors)
    for block, neuron in pairs:
        if block >= len(modules) or neuron >= len(value_vectors(modules[block])):
            raise CaseError(
                f"The original has no value vector {block}:{neuron}: it has {len(modules)} blocks of "
                f"{len(value_vectors(modules[0]))} neurons, both counted from 0."
            )
    return np.stack([np.asarray(pairs, np.int64)] * 2)


def _rows(
    bench: Bench, subject: Subject, split: Split, items: int
) -> tuple[list[Encoded], list[str | None], NDArray[np.bool_]]:
    """The items of a split as token ids, their attributes, and which are in the first half."""
    corpus = bench.corpus(split)
    asked = [corpus.items[i] for i in bench.subset(split, items)]
    first = halves([item.entity or item.id for item in asked], bench.seed)
    return first_tokens(subject, asked, bench.case.template), [item.attribute for item in asked], first


def _halves(bench: Bench, split: Split, items: int) -> NDArray[np.bool_]:
    entities = bench.corpus(split).entities
    return halves([entities[i] for i in bench.subset(split, items)], bench.seed)
