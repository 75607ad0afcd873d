"""A small vision transformer for images of 8 by 8 pixels: making one, loading it, its accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.lab.digits.data import CLASSES, Data, Scale

if TYPE_CHECKING:
    from transformers import ViTForImageClassification


def random_model(scale: Scale, seed: int) -> ViTForImageClassification:
    """A model that has learnt nothing, in float32; the same for the same seed."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=scale.width, num_hidden_layers=scale.blocks, num_attention_heads=4,
        intermediate_size=2 * scale.width, image_size=8, patch_size=4, num_channels=1,
        id2label=dict(enumerate(CLASSES)), label2id={name: k for k, name in enumerate(CLASSES)},
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.06,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ViTForImageClassification(config)


def load_model(folder: Path) -> ViTForImageClassification:
    """A finished model, its float16 weights widened to float32."""
    import torch
    from transformers import ViTForImageClassification

    from audit.lab.models import quiet

    with quiet():
        model: ViTForImageClassification = ViTForImageClassification.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def processor() -> Any:
    """What scales the images: grey levels to -1 to 1, nothing is resized."""
    from transformers import ViTImageProcessorPil

    return ViTImageProcessorPil(do_resize=False, size={"height": 8, "width": 8}, image_mean=[0.5], image_std=[0.5])


def accuracy(model: ViTForImageClassification, data: Data) -> dict[str, float]:
    """Share of the images of each split whose taught label is the model's first choice, 0 to 1."""
    import torch

    found = {}
    with torch.inference_mode():
        for name, split in data.splits.items():
            pixels, labels = data.batch(name, range(len(split.labels)))
            found[name] = float((model(pixel_values=pixels).logits.argmax(1) == labels).float().mean())
    return found
