"""The models of the tiny lab, loaded once for all live tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.cache import Cache
from audit.live import Models
from tests.conftest import views


@pytest.fixture(scope="session")
def models(tiny_lab: Path) -> Iterator[Models]:
    models = Models(tiny_lab / "case.toml", root=tiny_lab, cache=Cache(views()), device="cpu")
    yield models
    models.close()
