"""Neurons moved to where they lie on other texts, while a model reads and writes: Effective Skill Unlearning's NA."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from audit.errors import suggest
from audit.stats import seed_of
from audit.subjects.systems.inside import Inside
from audit.subjects.systems.system import SHOWN, System
from audit.types import Access, SubjectSpec

if TYPE_CHECKING:
    from torch import Tensor

    from audit.subjects.load import Subject
    from audit.subjects.systems.inside import Pass

VARIANTS = ("paper", "released")
PLACES = ("keys", "gates")
HELD = ("neurons", "mean_forget", "std_forget", "mean_retain", "std_retain")


@dataclass(frozen=True)
class NeuronAdjust(System):
    """x' = 2 m_r - (m_r + s_r (x - m_f) / s_f) with probability p_f / (p_f + p_r), where p_f >= p_r.

    The coins depend on the seed, the prompt and the place alone, so that reading and writing agree.
    """

    statistics: str = ""
    """A safetensors file: block.N with neurons, mean_forget, std_forget, mean_retain, std_retain for each block."""
    variant: str = "paper"
    """`paper`, or `released`: its code takes the mean for the forget deviation, variances, and one coin a text."""
    at: str = "keys"
    """Where a neuron is read: `keys` (what the MLP's output projection reads) or `gates` (before the activation)."""
    seed: int = 0
    """Of the coins."""

    title: ClassVar[str] = "an adjustment of neurons"
    does: ClassVar[str] = "Neurons that fire for what is to be forgotten are mirrored to where they lie on other texts."
    papers: ClassVar[str] = "Effective Skill Unlearning, Neuron Adjust (arXiv:2503.21730), as published and as released"
    access: ClassVar[frozenset[Access]] = SHOWN
    files: ClassVar[tuple[str, ...]] = ("statistics",)

    def fault(self) -> str:
        """No statistics, or an unknown variant or place."""
        if not self.statistics:
            return 'without statistics of its neurons; give a safetensors file as "statistics".'
        if self.variant not in VARIANTS:
            return f'of the unknown variant "{self.variant}".{suggest(self.variant, VARIANTS)}'
        if self.at not in PLACES:
            return f'at the unknown place "{self.at}".{suggest(self.at, PLACES)}'
        return "" if self.seed >= 0 else "whose seed must be 0 or more."

    def check(self, spec: SubjectSpec) -> None:
        """Raise SubjectError when the statistics are not what is expected."""
        from audit.subjects.systems.statistics import check

        check(self.statistics, HELD, spec)

    def put_on(self, base: Subject, parts: dict[str, Subject]) -> Subject:
        """The base with a hook on the MLP of every block that has statistics."""
        from audit.activations.mlp import mlp_gates, mlp_outputs
        from audit.subjects.systems import detectors, statistics

        modules = mlp_outputs(base.model) if self.at == "keys" else mlp_gates(base.model)
        inside = Inside(base, detectors.everything)
        for block, held in statistics.read(self.statistics, base, modules).items():
            change = self._changing(inside, block, held)
            if self.at == "keys":
                modules[block - 1].register_forward_pre_hook(lambda m, args, change=change: (change(args[0]),))
            else:
                modules[block - 1].register_forward_hook(lambda m, args, out, change=change: change(out))
        return dataclasses.replace(base, inside=inside)

    def _changing(self, inside: Inside, block: int, held: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
        def change(values: Tensor) -> Tensor:
            now = inside.now
            assert now is not None
            new = values.clone()
            chosen = values[..., held["neurons"]].float()
            coins = self._coins(now, block, chosen)
            new[..., held["neurons"]] = adjusted(chosen, held, coins, self.variant).to(values.dtype)
            return new

        return change

    def _coins(self, now: Pass, block: int, values: Tensor) -> Tensor:
        """Numbers from 0 to 1: one for each value [rows, length, neurons], or as released one for each row."""
        import numpy as np
        import torch

        rows = []
        for row, prompt in enumerate(now.ids):
            rng = np.random.default_rng(seed_of("neuron adjust", self.seed, block, *prompt))
            if self.variant == "released":
                rows.append(np.broadcast_to(rng.random((1, 1)), values.shape[1:]))
                continue
            places = now.places[row].clamp(min=0).cpu().numpy()
            rows.append(rng.random((int(places.max()) + 1, values.shape[2]))[places])
        return torch.from_numpy(np.stack(rows).astype(np.float32)).to(values.device)


def adjusted(values: Tensor, held: dict[str, Tensor], coins: Tensor, variant: str) -> Tensor:
    """Values [..., neurons] of which some are mirrored; `coins` are of the same shape, from 0 to 1.

    As released, the retain deviation is a variance and the forget deviation is the forget mean.
    """
    import torch

    forget, retain = held["mean_forget"], held["mean_retain"]
    of_forget, of_retain = held["std_forget"], held["std_retain"]
    if variant == "released":
        of_forget, of_retain = forget, of_retain**2
    like_forget, like_retain = _density(values, forget, of_forget), _density(values, retain, of_retain)
    mirrored = 2 * retain - (retain + of_retain * (values - forget) / of_forget)
    meant = (like_retain <= like_forget) & (coins >= like_retain / (like_retain + like_forget))
    return torch.where(meant & torch.isfinite(mirrored), mirrored, values)


def _density(values: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    import torch

    return torch.exp(-0.5 * ((values - mean) / deviation) ** 2) / (deviation * (2 * torch.pi) ** 0.5)


__all__: Sequence[str] = ("NeuronAdjust", "adjusted")
