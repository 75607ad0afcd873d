"""Training a dictionary on states whose features are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audit.dictionaries.source import Dictionary, load_sae
from audit.dictionaries.train import train
from audit.errors import Cancelled
from audit.types import DictionarySpec

WIDTH, TRUE = 16, 24


def states(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sums of three of 24 random directions each, and the directions."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(9).normal(size=(TRUE, WIDTH))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    active = np.stack([rng.permutation(np.r_[np.ones(3), np.zeros(TRUE - 3)]) for _ in range(number)])
    return (active * rng.uniform(1, 2, active.shape) @ directions).astype(np.float32), directions


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Dictionary:
    folder = tmp_path_factory.mktemp("sae")
    train(states(4000)[0], folder, features=64, k=3, steps=600, seed=0, hook="blocks.1.hook_resid_post")
    return Dictionary(2, load_sae(DictionarySpec(2, path=str(folder))), str(folder), "")


def test_it_explains_new_states_of_the_same_kind(trained: Dictionary) -> None:
    x = states(500, seed=1)[0]
    wrong = np.square(x - trained.decode(trained.encode(x))).sum() / np.square(x - x.mean(0)).sum()
    assert wrong < 0.25
    assert (trained.encode(x) > 0).sum(1).mean() == pytest.approx(3, abs=1.5)


def test_noise_of_no_such_directions_is_explained_worse(trained: Dictionary) -> None:
    x = np.random.default_rng(5).normal(size=(500, WIDTH)).astype(np.float32)
    own = states(500, seed=1)[0]
    loss = [np.square(y - trained.decode(trained.encode(y))).sum() / np.square(y - y.mean(0)).sum() for y in (x, own)]
    assert loss[0] > 2 * loss[1]


def test_the_same_seed_gives_the_same_bits_and_leaves_the_callers_random_state(tmp_path: Path) -> None:
    x = states(600)[0]
    before = torch.random.get_rng_state()
    for name in ("a", "b"):
        train(x, tmp_path / name, features=32, k=3, steps=20, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    a, b = ((tmp_path / name / "sae_weights.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b


def test_progress_grows_and_may_cancel(tmp_path: Path) -> None:
    seen: list[float] = []

    def progress(share: float) -> None:
        seen.append(share)
        if share > 0.5:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        train(states(600)[0], tmp_path, features=32, k=3, steps=100, seed=0, progress=progress)
    assert seen == sorted(seen)
    assert not list(tmp_path.iterdir())
