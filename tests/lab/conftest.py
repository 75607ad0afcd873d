"""What the lab's tests share: a scale so small that everything takes a moment, and the tiny lab opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.lab.builder import Kitchen
from audit.lab.people import people
from audit.lab.scales import Scale

MICRO = Scale(
    forget=4, retain=6, holdout=4, attributes=2, values=6, vocabulary=400,
    layers=3, width=16, heads=2, steps=3, batch=8, lr=1e-3,
)  # fmt: skip


@pytest.fixture
def micro() -> Scale:
    return MICRO


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    """Tokenizer and data of the micro scale; models go below `tmp_path`."""
    return Kitchen.open(tmp_path / "models", MICRO, people(MICRO, seed=0))


@pytest.fixture
def micro_model(kitchen: Kitchen) -> Any:
    from audit.lab.models import model_config, random_model

    return random_model(model_config(MICRO, kitchen.tokenizer), seed=1)


@pytest.fixture
def weights() -> Callable[[Any], dict[str, Any]]:
    """A copy of a model's weights by name."""
    return lambda model: {name: tensor.clone() for name, tensor in model.state_dict().items()}
