"""Scorer and judge: two classifiers of all ten digits that share neither architecture nor seed nor images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.lab.digits.data import CLASSES
from audit.lab.digits.data import Scale as ClassifierScale
from audit.lab.generator.data import Data, Scale

if TYPE_CHECKING:
    from audit.lab.train import Progress


def scorer(scale: Scale, seed: int) -> Any:
    """A vision transformer that has learnt nothing."""
    from audit.lab.digits.model import random_model

    return random_model(ClassifierScale(0, 0, 0, width=48, blocks=2, steps=scale.scorer_steps), seed)


def judge(scale: Scale, seed: int) -> Any:
    """A convolutional network that has learnt nothing."""
    import torch
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(
        num_channels=1, patch_size=2, num_stages=2, hidden_sizes=[32, 64], depths=[1, 1], image_size=8,
        layer_scale_init_value=1.0, initializer_range=0.1, id2label=dict(enumerate(CLASSES)),
        label2id={name: k for k, name in enumerate(CLASSES)},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNextForImageClassification(config)


def train_classifier(model: Any, data: Data, part: str, scale: Scale, seed: int, progress: Progress) -> Any:
    """Train a classifier on a part of the images, made noisy, so that it sees shapes."""
    import torch

    from audit.lab.digits.recipes import batches
    from audit.lab.train import train

    rows = batches(data.labelled(part), "retain", scale.batch, seed)
    generator = torch.Generator().manual_seed(seed)

    def loss_of(step: int) -> torch.Tensor:
        pixels, labels = next(rows)
        noisy = pixels + 0.3 * torch.randn(pixels.shape, generator=generator)
        return torch.nn.functional.cross_entropy(model(pixel_values=noisy).logits, labels)

    train(model, loss_of, steps=scale.scorer_steps, lr=2e-3, progress=progress)
    return model.eval()


def accuracy(model: Any, data: Data) -> float:
    """Share of the test images whose digit is the first choice, 0 to 1."""
    from audit.lab.digits.model import accuracy as of

    return of(model, data.labelled("scorer"))["test"]


def load_classifier(folder: Path) -> Any:
    """A finished classifier in float32."""
    import torch
    from transformers import AutoModelForImageClassification

    from audit.lab.models import quiet

    with quiet():
        return AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()


__all__ = ["accuracy", "judge", "load_classifier", "scorer", "train_classifier"]
