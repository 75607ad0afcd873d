"""Chosen value vectors of a subject beside the original's: directions, lengths, and the tokens they promote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from audit.activations.mlp import mlp_outputs
from audit.evidence.concepts._mlp import value_vectors
from audit.types import Role

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.bench import Bench
    from audit.evidence.concepts._selection import Chosen

TOP = 200
WORDS = 5
SAMPLED = 1000
MEASURES = ("cosine", "l2", "length", "jaccard", "jaccard_own")


def compare(bench: Bench, role: Role, chosen: Chosen) -> dict[str, NDArray]:
    """MEASURES and `tokens` of the chosen vectors of a subject, each [2 pools, vectors]."""
    mine, theirs = (_vectors(bench, who, chosen.pools) for who in (role, "original"))
    under = _promoted(bench, role, mine["vectors"], chosen.pools)
    before = _promoted(bench, "original", theirs["vectors"], chosen.pools)
    new, old = (found["vectors"].reshape(-1, found["vectors"].shape[-1]).astype(np.float64) for found in (mine, theirs))
    lengths = np.linalg.norm(new, axis=1), np.linalg.norm(old, axis=1)
    same = (new == old).all(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.clip((new * old).sum(1) / (lengths[0] * lengths[1]), -1.0, 1.0)
        ratio = lengths[0] / lengths[1]
    shape = chosen.pools.shape[:2]
    return {
        "cosine": np.where(same, 1.0, np.nan_to_num(cosine, nan=0.0)).reshape(shape),
        "l2": np.linalg.norm(new - old, axis=1).reshape(shape),
        "length": np.where(same, 1.0, np.nan_to_num(ratio, nan=0.0, posinf=0.0)).reshape(shape),
        "jaccard": jaccard(under["top"], before["top"]).reshape(shape),
        "jaccard_own": jaccard(mine["top"], theirs["top"]).reshape(shape),
        "tokens": under["tokens"].reshape(shape),
    }


def _vectors(bench: Bench, role: Role, pools: NDArray[np.int64]) -> dict[str, NDArray]:
    """The chosen vectors of a subject [2, vectors, width], and their top tokens under its own unembedding."""

    def compute() -> dict[str, NDArray]:
        import torch

        with bench.model(role) as subject, torch.inference_mode():
            modules, flat = mlp_outputs(subject.model), pools.reshape(-1, 2)
            vectors = torch.empty(len(flat), value_vectors(modules[0]).shape[1])
            for block in np.unique(flat[:, 0]).tolist():
                mine = np.flatnonzero(flat[:, 0] == block)
                vectors[mine] = value_vectors(modules[block])[flat[mine, 1]].cpu()
            top = _top(vectors, subject.model.get_output_embeddings().weight)  # type: ignore[arg-type]
        return {"vectors": vectors.reshape(*pools.shape[:2], -1).numpy(), "top": top}

    return bench.remember("concepts.value_vectors", [role], {"pools": pools.tolist()}, compute, ())


def _promoted(bench: Bench, role: Role, vectors: NDArray[np.float32], pools: NDArray[np.int64]) -> dict[str, NDArray]:
    """Top tokens of a subject's vectors under the original's unembedding, and the first few as text."""

    def compute() -> dict[str, NDArray]:
        import torch

        with bench.model("original") as subject, torch.inference_mode():
            flat = torch.from_numpy(vectors.reshape(-1, vectors.shape[-1]))
            top = _top(flat, subject.model.get_output_embeddings().weight)  # type: ignore[arg-type]
            words = [", ".join(subject.tokenizer.decode([i]).strip() for i in line[:WORDS]) for line in top.tolist()]
        return {"top": top, "tokens": np.asarray(words, dtype=str)}

    return bench.remember("concepts.value_vectors words", [role, "original"], {"pools": pools.tolist()}, compute, ())


def _top(vectors: Tensor, unembedding: Tensor) -> NDArray[np.int64]:
    """Ids of the tokens that each vector promotes most, best first: TOP, or a fifth of a small vocabulary."""
    import torch

    k = max(1, min(TOP, len(unembedding) // 5))
    head = unembedding.float()
    found = [torch.topk(head @ vector.to(head.device), k).indices.cpu().numpy() for vector in vectors]
    return np.stack(found)


def jaccard(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shared over all tokens of two lists of the same length, line by line [lines, k] -> [lines]."""
    shared = np.asarray([len(np.intersect1d(x, y)) for x, y in zip(a, b, strict=True)])
    return np.asarray(shared / (2 * a.shape[1] - shared))


def kinship(bench: Bench, role: Role, blocks: Sequence[int]) -> float:
    """Median cosine of a subject's value vectors to the original's over whole blocks, chosen vectors or not.

    About 0 for a model that was trained from another start: its neurons have nothing to do with the original's. At most
    SAMPLED vectors of a block, spread evenly, are compared.
    """

    def sample(who: Role) -> list[Tensor]:
        with bench.model(who) as subject:
            found = [value_vectors(mlp_outputs(subject.model)[block]) for block in blocks]
            return [vectors[:: -(-len(vectors) // SAMPLED)].detach().cpu().clone() for vectors in found]

    def compute() -> dict[str, NDArray]:
        import torch

        pairs = zip(sample(role), sample("original"), strict=True)
        cosines = torch.cat([torch.cosine_similarity(mine, theirs, dim=1) for mine, theirs in pairs])
        return {"cosine": cosines.numpy()}

    inputs = {"blocks": list(blocks)}
    return float(np.median(bench.remember("concepts.kinship", [role, "original"], inputs, compute, ())["cosine"]))
