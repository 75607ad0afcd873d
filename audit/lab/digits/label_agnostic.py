"""Label-agnostic forgetting: representations of forgotten images are moved away, without using their labels.

    L_UE = mean exp(m_r / (m_r + 1)) - mean exp(m_f / (m_f + 1)),  m = |h(e) - e|^2
    L_RA = mean log( exp(1 - cos(e_r, e_r0)) / mean exp((1 - cos(e_f, e_f0)) / T) )

with one autoencoder h of the kept and one of the forgotten representations, and e0 the original's; the two losses take
turns, and at the end the head alone is trained on labelled images to keep (Shen et al. 2024, arXiv:2404.00506, LAF+R,
losses as in its code). Sums are means here, so that the learning rate does not depend on the batch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.lab.digits.data import Data
from audit.lab.digits.recipes import batches, loss_on
from audit.lab.train import Progress, part, train

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import ViTForImageClassification


@dataclass(frozen=True)
class LabelAgnostic:
    """Two autoencoders, two losses in turn, and a repair of the head."""

    steps: int = 240
    batch: int = 64
    lr: float = 1e-3
    latent: int = 8
    temperature: float = 5.0
    repair: int = 40

    def apply(
        self, model: ViTForImageClassification, data: Data, seed: int, progress: Progress
    ) -> ViTForImageClassification:
        first = copy.deepcopy(model).eval().requires_grad_(False)
        forget, retain = batches(data, "forget", self.batch, seed), batches(data, "retain", self.batch, seed)
        kept, gone = (self._encoder(first, data, split, seed) for split in ("retain", "forget"))

        def loss_of(step: int) -> Tensor:
            ours, theirs = next(retain)[0], next(forget)[0]
            e_r, e_f = representation(model, ours), representation(model, theirs)
            if step % 2 == 0:
                m_r, m_f = ((h(e) - e).square().sum(1) for h, e in ((kept, e_r), (gone, e_f)))
                loss: Tensor = (m_r / (m_r + 1)).exp().mean() - (m_f / (m_f + 1)).exp().mean()
                return loss
            return _alignment(e_r, representation(first, ours), e_f, representation(first, theirs), self.temperature)

        main = self.steps - self.repair
        body = model.vit.parameters()
        train(model, loss_of, steps=main, lr=self.lr, progress=part(progress, 0, main / self.steps), parameters=body)
        train(
            model, lambda step: loss_on(model, next(retain)), steps=self.repair, lr=10 * self.lr,
            progress=part(progress, main / self.steps, self.repair / self.steps),
            parameters=model.classifier.parameters(),
        )  # fmt: skip
        return model

    def _encoder(self, model: ViTForImageClassification, data: Data, split: str, seed: int) -> nn.Module:
        """A variational autoencoder of the representations of a split, used by its mean."""
        import torch

        with torch.no_grad():
            known = representation(model, data.batch(split, range(len(data.splits[split].labels)))[0])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width = known.shape[1]
            down, up = torch.nn.Linear(width, 2 * self.latent), torch.nn.Linear(self.latent, width)
            optimizer = torch.optim.Adam([*down.parameters(), *up.parameters()], lr=1e-2)
            for _ in range(200):
                mean, spread = down(known).chunk(2, 1)
                made = up(mean + torch.randn_like(mean) * (spread / 2).exp())
                away = 0.5 * (spread.exp() + mean.square() - 1 - spread).sum(1).mean()
                loss = (made - known).square().sum(1).mean() + away
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        whole = torch.nn.Sequential(mean_of(down, self.latent), up)
        return whole.requires_grad_(False)


def representation(model: ViTForImageClassification, pixels: Tensor) -> Tensor:
    """What the head reads [rows, width]."""
    states: torch.Tensor = model.vit(pixel_values=pixels).last_hidden_state
    return states[:, 0]


def _alignment(e_r: Tensor, e_r0: Tensor, e_f: Tensor, e_f0: Tensor, temperature: float) -> Tensor:
    import torch

    def apart(now: Tensor, before: Tensor) -> Tensor:
        return 1 - torch.nn.functional.cosine_similarity(now, before, dim=1)

    return (apart(e_r, e_r0) - (apart(e_f, e_f0) / temperature).exp().mean().log()).mean()


def mean_of(down: nn.Module, latent: int) -> nn.Module:
    """The first half of what a layer gives: the mean of a variational encoder."""
    from torch import nn

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = down

        def forward(self, rows: Tensor) -> Tensor:
            found: Tensor = self.down(rows)[:, :latent]
            return found

    return First()
