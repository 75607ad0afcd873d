"""A small conditional generator, its encoder, and what a scorer sees in what it draws.

Trained as a conditional variational autoencoder (Sohn et al. 2015): the decoder is the generator, and the encoder,
which alone can say which latent an image comes from, lies beside it for the recipes and is no part of what is audited.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.lab.digits.data import CLASSES
from audit.lab.generator.data import Scale

if TYPE_CHECKING:
    from torch import Tensor, nn

LATENT, CONDITION = 6, 10
ENCODER = "encoder.safetensors"


@dataclass
class Pair:
    """A generator and the encoder that it was trained with."""

    generator: Any
    encoder: nn.Module


def config(scale: Scale) -> dict[str, Any]:
    """The description of the generator of a build."""
    return {
        "model_type": "palimpsest-generator",
        "latent_size": LATENT,
        "classes": list(CLASSES),
        "condition_size": CONDITION,
        "image": {"channels": 1, "height": 8, "width": 8, "low": -1, "high": 1},
        "blocks": [
            [{"layer": "linear", "out": scale.width}, {"layer": "silu"}],
            [{"layer": "linear", "out": scale.width}, {"layer": "silu"}],
            [{"layer": "linear", "out": 256}, {"layer": "reshape", "channels": 16, "height": 4, "width": 4},
             {"layer": "silu"}],
            [{"layer": "conv_transpose", "out": 8}, {"layer": "silu"}],
            [{"layer": "conv", "out": 1}, {"layer": "tanh"}],
        ],
    }  # fmt: skip


def random_pair(scale: Scale, seed: int) -> Pair:
    """A generator and an encoder that have learnt nothing; the same for the same seed."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inputs = 64 + len(CLASSES)
        encoder = nn.Sequential(nn.Linear(inputs, scale.width), nn.SiLU(), nn.Linear(scale.width, 2 * LATENT))
        return Pair(_built(config(scale)), encoder)


def _built(values: dict[str, Any]) -> Any:
    import tempfile

    from audit.subjects.generator import build, describe

    with tempfile.TemporaryDirectory(prefix="palimpsest-") as place:
        (Path(place) / "config.json").write_text(json.dumps(values))
        return build(describe(Path(place), "lab"))


def bound(pair: Pair, pixels: Tensor, digits: Tensor, noise: Tensor, kl: float = 0.03) -> Tensor:
    """What training minimises: the squared error of redrawn images, and how far latents lie from a standard normal."""
    import torch

    one_hot = torch.nn.functional.one_hot(digits, len(CLASSES)).float()
    mean, spread = pair.encoder(torch.cat([pixels.flatten(1), one_hot], 1)).chunk(2, 1)
    drawn = redrawn(pair, mean + noise * (spread / 2).exp(), digits)
    away = 0.5 * (spread.exp() + mean.square() - 1 - spread).sum(1)
    return ((drawn - pixels).square().flatten(1).sum(1) / 4 + kl * 10 * away).mean()


def redrawn(pair: Pair, latents: Tensor, digits: Tensor) -> Tensor:
    """The images of latents under conditions, -1 to 1."""
    images: Tensor = pair.generator(latents, pair.generator.condition(digits))
    return 2 * images - 1


def save_pair(pair: Pair, scale: Scale, folder: Path) -> None:
    """Write both, the generator in float16, under another name until they are complete; without marker."""
    import torch
    from safetensors.torch import save_file

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / "config.json").write_text(json.dumps(config(scale), indent=1) + "\n")
    weights = {name: value.to(torch.float16).contiguous() for name, value in pair.generator.state_dict().items()}
    save_file(weights, partial / "model.safetensors")
    save_file({name: value.contiguous() for name, value in pair.encoder.state_dict().items()}, partial / ENCODER)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def load_pair(folder: Path, scale: Scale) -> Pair:
    """A finished generator with its encoder, widened to float32."""
    from safetensors.torch import load_file

    pair = random_pair(scale, 0)
    pair.generator.load_state_dict({n: v.float() for n, v in load_file(folder / "model.safetensors").items()})
    pair.encoder.load_state_dict(load_file(folder / ENCODER))
    pair.generator.eval()
    return pair
