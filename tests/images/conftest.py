"""Tiny image classifiers of true architectures with random weights, and corpora of drawn images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.types import Picture

CLASSES = ("circle", "square", "cross")


def vit(seed: int = 0, **changes: Any) -> Any:
    """A vision transformer of two blocks, 8 by 8 pixels, one channel."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    settings = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 8,
        "patch_size": 4, "num_channels": 1, "id2label": dict(enumerate(CLASSES)), "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3, **changes,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ViTForImageClassification(ViTConfig(**settings)).eval()


def resnet(seed: int = 0) -> Any:
    """A residual network of two stages of 6 and 10 channels, three colours."""
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = ResNetConfig(
            num_channels=3, embedding_size=6, hidden_sizes=[6, 10], depths=[1, 2], layer_type="basic",
            id2label=dict(enumerate(CLASSES)),
        )  # fmt: skip
        return ResNetForImageClassification(config).eval()


def processor(channels: int, side: int = 8) -> Any:
    """The image processor that belongs to them: scaled to -1 to 1."""
    from transformers import ViTImageProcessorPil

    half = [0.5] * channels
    return ViTImageProcessorPil(size={"height": side, "width": side}, image_mean=half, image_std=half)


def drawn(number: int, channels: int = 1, seed: int = 0, side: int = 8) -> list[Any]:
    """So many random images."""
    from PIL import Image

    shape = (number, side, side) if channels == 1 else (number, side, side, channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return [Image.fromarray(one) for one in pixels]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Write a model with its processor into a folder of the test's own."""

    def save(model: Any, name: str = "original", channels: int = 1, side: int = 8) -> Path:
        folder = tmp_path / name
        model.save_pretrained(folder)
        processor(channels, side).save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def folder_of_images(tmp_path: Path) -> Callable[..., Path]:
    """Write an image folder with a sub-folder for each class; images count through the classes."""

    def write(name: str, number: int = 6, channels: int = 1, seed: int = 0, classes: Any = CLASSES) -> Path:
        for k, image in enumerate(drawn(number, channels, seed)):
            part = tmp_path / name / classes[k % len(classes)]
            part.mkdir(parents=True, exist_ok=True)
            image.save(part / f"{k:03d}.png")
        return tmp_path / name

    return write


__all__ = ["CLASSES", "Picture", "drawn", "processor", "resnet", "vit"]
