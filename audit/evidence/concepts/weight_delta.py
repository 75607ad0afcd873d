"""Weight difference: what changed where, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np

from audit.errors import NotApplicable
from audit.evidence.concepts._reading import in_order, place_of, weights_of
from audit.stats import DRAWS, Panel, Sample, against_chance
from audit.types import BOTH, Access, Chart, Modality, Place, Reading, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.bench import Bench

CHUNK = 2**24
NUMBERS = ("elements", "identical", "relative", "largest", "stable_rank", "effective_rank")


class WeightDeltaRow(NamedTuple):
    """One tensor of one subject, compared with the original's."""

    subject: Annotated[str, "role of the model that is compared with the original"]
    tensor: Annotated[str, "name of the tensor"]
    where: Annotated[str, "part of the model: embedding, block, final norm or head"]
    layer: Annotated[int | None, "number of the block, empty outside the blocks"]
    module: Annotated[str, "module within the part"]
    elements: Annotated[int, "number of weights in the tensor"]
    identical: Annotated[float, "share of weights that are identical bit by bit, 0 to 1"]
    relative: Annotated[float, "Frobenius norm of the change over that of the original tensor"]
    largest: Annotated[float, "largest absolute change of one weight"]
    stable_rank: Annotated[float | None, "squared Frobenius over squared spectral norm of the change; matrices only"]
    effective_rank: Annotated[float | None, "exp of the entropy of the change's singular values; matrices only"]


@dataclass(frozen=True)
class WeightDelta:
    """Compares every weight of the candidate and of the reference with the original's.

    All weights are counted, so the shares carry no sampling error and their interval is a point. Without a reference
    the floor is 0, no weight unchanged: facts of a holdout say nothing about weights.
    """

    title: ClassVar[str] = "Weight difference"
    question: ClassVar[str] = "Which weights did unlearning change at all, and which are still the original's?"
    blind_to: ClassVar[str] = (
        "What the changed weights do: a change everywhere may remove nothing, and a small one in the right place may "
        "remove much. Unchanged weights show only that what they held is still there."
    )
    formula: ClassVar[str] = (
        "headline = weights identical bit by bit / all weights; per tensor |W - W0|_F / |W0|_F, max |W - W0|, stable "
        "rank |D|_F^2 / |D|_2^2 and effective rank exp(-sum p log p), p = s / sum s, s singular values of D = W - W0"
    )
    source: ClassVar[str] = (
        "Stable rank: Rudelson and Vershynin 2007; effective rank: Roy and Vetterli 2007; task vectors: Ilharco et al. "
        "2022 (arXiv:2212.04089)"
    )
    place: ClassVar[Place] = "stored"
    needs: ClassVar[frozenset[Access]] = frozenset({Access.WEIGHTS})
    reads: ClassVar[frozenset[Modality]] = BOTH
    row: ClassVar[type] = WeightDeltaRow
    chart: ClassVar[Chart] = Chart(
        "scatter",
        x="where",
        y="relative",
        color="subject",
        hover=("tensor", "identical", "largest", "stable_rank", "effective_rank"),
        x_title="part of the model",
        y_title="relative change",
        title="How much each tensor changed",
    )
    cost: ClassVar[float] = 0.2

    rank_cap: int = 1024
    """Matrices whose smaller side is above this get no ranks: their singular values would take minutes."""

    def measure(self, bench: Bench) -> Reading:
        """Read every tensor once; raises NotIdentifiable without any control, as every evidence does."""
        null = bench.null
        found: dict[Role, list[WeightDeltaRow]] = {"candidate": self._compare(bench, "candidate")}
        if null == "reference":
            found["reference"] = self._compare(bench, "reference")
        original = _sample(1.0, len(found["candidate"]))
        shares = {role: _sample(_share(rows), len(rows)) for role, rows in found.items()}
        if "reference" in shares:
            reference = shares["reference"]
            panel = Panel(original, shares["candidate"], reference, reference, "reference", reference)
        else:
            panel = against_chance(original, shares["candidate"], 0.0, "forget")
        return Reading([row for rows in found.values() for row in rows], panel, in_words(found["candidate"]))

    def _compare(self, bench: Bench, role: Role) -> list[WeightDeltaRow]:
        """One row per tensor that the subject shares with the original, from input to output."""

        def compute() -> dict[str, NDArray]:
            with weights_of(bench, role, "original") as (mine, originals):
                names = sorted(mine.keys() & originals.keys())
                lines = []
                for k, name in enumerate(names):
                    bench.progress(k / len(names), f"comparing {name} of the {role}")
                    lines.append(change(mine[name](), originals[name](), self.rank_cap))
            numbers = np.asarray(lines, np.float64).reshape(len(names), len(NUMBERS))
            return {"names": np.asarray(names, dtype=str), "numbers": numbers}

        stored = bench.remember("concepts.weight_delta", [role, "original"], {"rank_cap": self.rank_cap}, compute, ())
        if not len(stored["names"]):
            raise NotApplicable(f"The {role} and the original share no tensor name, so no weight can be compared.")
        rows = []
        for name, line in zip(stored["names"].tolist(), stored["numbers"].tolist(), strict=True):
            elements, identical, relative, largest, *ranks = line
            stable, effective = (None if np.isnan(rank) else rank for rank in ranks)
            where, layer, module = place_of(name)
            rows.append(
                WeightDeltaRow(
                    role, name, where, layer, module, int(elements), identical, relative, largest, stable, effective
                )
            )
        order = {place: k for k, place in enumerate(in_order({row.where for row in rows}))}
        return sorted(rows, key=lambda row: (order[row.where], row.module))


def change(new: Tensor, old: Tensor, rank_cap: int) -> tuple[float, float, float, float, float, float]:
    """NUMBERS of one tensor; ranks are NaN where they are not defined (no matrix, or above the cap).

    Raises NotApplicable when the shapes differ. Both tensors are first put in the wider of their number formats.
    """
    import torch

    if new.shape != old.shape:
        raise NotApplicable(f"Weights of shapes {tuple(new.shape)} and {tuple(old.shape)} cannot be compared.")
    wide = torch.promote_types(new.dtype, old.dtype)
    same, squares, norm, largest = 0, 0.0, 0.0, 0.0
    for a, b in zip(new.reshape(-1).split(CHUNK), old.reshape(-1).split(CHUNK), strict=True):
        a, b = a.to(wide), b.to(wide)
        same += int((a.view(torch.uint8).view(len(a), -1) == b.view(torch.uint8).view(len(b), -1)).all(1).sum())
        delta = a.double() - b.double()
        squares += float(delta.square().sum())
        norm += float(b.double().square().sum())
        largest = max(largest, float(delta.abs().max()))
    relative = (squares / norm) ** 0.5 if norm else float(squares > 0)
    ranks = (float("nan"), float("nan"))
    if new.ndim == 2 and min(new.shape) <= rank_cap:
        ranks = ranks_of(new.double() - old.double()) if squares else (0.0, 0.0)
    return float(new.numel()), same / new.numel(), relative, largest, *ranks


def ranks_of(delta: Tensor) -> tuple[float, float]:
    """Stable and effective rank of a matrix that is not zero."""
    import torch

    gram = delta @ delta.T if delta.shape[0] <= delta.shape[1] else delta.T @ delta
    squares = torch.linalg.eigvalsh(gram)
    squares = squares[squares > 1e-12 * squares[-1]]
    share = squares.sqrt() / squares.sqrt().sum()
    return float(squares.sum() / squares[-1]), float(torch.exp(-(share * share.log()).sum()))


def in_words(rows: Sequence[WeightDeltaRow]) -> str:
    """Which parts differ and which are bit-identical."""
    changed = {row.where for row in rows if row.identical < 1.0}
    same = {row.where for row in rows} - changed
    if not changed:
        return "Every weight is bit-identical to the original: nothing was removed from the weights."
    last = max((row.layer for row in rows if row.layer is not None), default=None)
    if not same:
        share = f"{_share(rows):.0%}".replace("%", " %")
        return f"Every part of the model differs from the original; {share} of all weights are bit-identical."
    verb = "differs" if len(changed) == 1 else "differ"
    also = "is" if len(same) == 1 else "are"
    return f"Only {_listed(changed, last)} {verb}; {_listed(same, last)} {also} bit-identical."


def _listed(places: set[str], last: int | None) -> str:
    """`the last block`, or `blocks 0 to 2, the embedding and the final norm`."""
    blocks = sorted(int(place.split()[1]) for place in places if place.startswith("block "))
    words = []
    if blocks == [last]:
        words.append("the last block")
    elif len(blocks) > 2 and blocks == list(range(blocks[0], blocks[-1] + 1)):
        words.append(f"blocks {blocks[0]} to {blocks[-1]}")
    elif blocks:
        words.append(("block " if len(blocks) == 1 else "blocks ") + _joined([str(block) for block in blocks]))
    seen = sorted(int(place.split()[2]) for place in places if place.startswith("vision block "))
    if seen:
        words.append(f"vision block{'s' if seen[1:] else ''} {_joined([str(block) for block in seen])}")
    rest = [place for place in in_order(places) if not place.startswith(("block ", "vision block "))]
    return _joined(words + ["other tensors" if place == "elsewhere" else f"the {place}" for place in rest])


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _share(rows: Sequence[WeightDeltaRow]) -> float:
    """Share of bit-identical weights over all tensors."""
    same = sum(round(row.identical * row.elements) for row in rows)
    return same / sum(row.elements for row in rows)


def _sample(value: float, tensors: int) -> Sample:
    """A share that was counted, not sampled; its unit is the tensor."""
    return Sample(value, np.full(DRAWS, value), tensors)
