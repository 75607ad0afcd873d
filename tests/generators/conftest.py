"""Tiny generators with random weights, and two random classifiers that look at what they draw."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.types import SubjectSpec
from tests.images.conftest import CLASSES, processor, vit

BLOCKS: list[list[dict[str, Any]]] = [
    [{"layer": "linear", "out": 12}, {"layer": "leaky_relu"}],
    [{"layer": "linear", "out": 16}, {"layer": "reshape", "channels": 4, "height": 2, "width": 2}],
    [{"layer": "upsample"}, {"layer": "conv", "out": 4}, {"layer": "group_norm", "groups": 2}, {"layer": "gelu"}],
    [{"layer": "conv_transpose", "out": 1}, {"layer": "tanh"}],
]
CONFIG: dict[str, Any] = {
    "model_type": "palimpsest-generator", "latent_size": 3, "classes": list(CLASSES), "condition_size": 2,
    "image": {"channels": 1, "height": 8, "width": 8, "low": -1, "high": 1}, "blocks": BLOCKS,
}  # fmt: skip


def save_generator(folder: Path, config: dict[str, Any], seed: int = 0) -> Any:
    """Write a generator of a config with random weights; returns the model."""
    import torch
    from safetensors.torch import save_file

    from audit.subjects.generator import build, describe

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(describe(folder, "mine")).eval()
    save_file(model.state_dict(), folder / "model.safetensors")
    return model


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[SubjectSpec, Any]]:
    """Write a generator and its two classifiers: its spec, and the model as it was written."""
    for seed, name in enumerate(("scorer", "judge")):
        vit(seed).save_pretrained(tmp_path / name)
        processor(1).save_pretrained(tmp_path / name)

    def make(name: str = "original", seed: int = 0, **changes: Any) -> tuple[SubjectSpec, Any]:
        model = save_generator(tmp_path / name, CONFIG | changes, seed)
        settings = {part: str(tmp_path / part) for part in ("scorer", "judge")}
        return SubjectSpec(name, "original", str(tmp_path / name), settings), model

    return make
