"""The causal check on value vectors: noise in the chosen ones against as much noise in others of the same blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from audit.activations.mlp import mlp_outputs
from audit.evidence.concepts._answers import first_tokens, likelihoods
from audit.evidence.concepts._mlp import value_vectors, writing
from audit.types import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from audit.bench import Bench
    from audit.evidence.concepts._selection import Chosen
    from audit.subjects.load import Subject

KINDS = ("chosen", "others")


def drops(bench: Bench, chosen: Chosen, items: int, noise: float, seeds: int) -> dict[str, NDArray[np.float64]]:
    """How much the first answer token's log-probability falls in the original, in nats, with noise in its pool.

    `chosen` and `others` [seeds, items]: noise of standard deviation `noise` * |v| / sqrt(width) in every coordinate of
    each vector v of the pool that the item is scored with, and the same noise in as many other vectors of the same
    blocks; `retain <kind>` [seeds, 2 pools, items] on as many retain items.
    """

    def compute() -> dict[str, NDArray[np.float64]]:
        with bench.model("original") as subject:
            asked = [bench.corpus("forget").items[i] for i in bench.subset("forget", items)]
            retain = []
            if bench.has("retain"):
                retain = [bench.corpus("retain").items[i] for i in bench.subset("retain", len(asked))]
            rows = first_tokens(subject, [*asked, *retain], bench.case.template)
            clean = likelihoods(subject, rows)[0]
            found = {kind: np.empty((seeds, len(asked))) for kind in KINDS}
            found |= {f"retain {kind}": np.empty((seeds, 2, len(retain))) for kind in KINDS}
            for turn in range(seeds * 2):
                seed, number = divmod(turn, 2)
                bench.progress(turn / seeds / 2, "adding noise to value vectors of the original")
                mine = np.flatnonzero(chosen.first if number == 0 else ~chosen.first)
                here = [*mine, *range(len(asked), len(rows))]
                writes = _noisy(subject, chosen.pools[number], noise, bench.rng("concepts.noise", seed, number))
                for kind, write in zip(KINDS, writes, strict=True):
                    with writing(subject.model, write):
                        fall = clean[here] - likelihoods(subject, [rows[i] for i in here])[0]
                    found[kind][seed, mine] = fall[: len(mine)]
                    found[f"retain {kind}"][seed, number] = fall[len(mine) :]
        return found

    inputs = {"pools": chosen.pools.tolist(), "items": items, "noise": noise, "seeds": seeds}
    corpora: tuple[Split, ...] = ("forget", "retain") if bench.has("retain") else ("forget",)
    return bench.remember("concepts.noise", ["original"], inputs, compute, corpora)


Writes = dict[int, "Callable[[nn.Module, Tensor, Tensor], Tensor]"]


def _noisy(subject: Subject, pool: NDArray[np.int64], noise: float, rng: np.random.Generator) -> tuple[Writes, Writes]:
    """What to write in each block: noise in the pool's vectors, and the same noise in others of the block."""
    import torch

    modules = mlp_outputs(subject.model)
    mine: Writes = {}
    others: Writes = {}
    for block in np.unique(pool[:, 0]).tolist():
        neurons = np.unique(pool[pool[:, 0] == block, 1])
        vectors = value_vectors(modules[block])
        rest = np.setdiff1d(np.arange(len(vectors)), neurons)
        drawn = rng.choice(rest, min(len(neurons), len(rest)), replace=False)
        length = vectors[neurons].norm(dim=1, keepdim=True).cpu()
        shape = (len(neurons), vectors.shape[1])
        delta = torch.from_numpy(rng.normal(size=shape)).float() * length * noise / vectors.shape[1] ** 0.5
        mine[block], others[block] = _adding(neurons, delta), _adding(drawn, delta[: len(drawn)])
    return mine, others


def _adding(neurons: NDArray[np.int64], delta: Tensor) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """The change of an MLP's output when `delta` [vectors, width] is added to these of its value vectors."""
    import torch

    places = torch.from_numpy(neurons)

    def write(module: nn.Module, activations: Tensor, output: Tensor) -> Tensor:
        at = activations[..., places.to(activations.device)]
        return output + at @ delta.to(at.device, at.dtype)

    return write
