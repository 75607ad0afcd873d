"""Findings of the made-up run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.types import Finding
from tests.pages import shapes, synthetic


@pytest.fixture(scope="session")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Finding]]:
    """Every finding of `hides`, `like-retrained` and `untouched`."""
    with shapes.registered():
        run = synthetic.copied(tmp_path_factory.mktemp("views") / "people")
        return {name: {finding.id: finding for finding in run.findings(name)} for name in run.candidates}


@pytest.fixture(autouse=True)
def with_shapes() -> Iterator[None]:
    """The made-up evidence is in the catalogue while a view is tested."""
    with shapes.registered():
        yield


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A folder with three would-be models and three corpora, enough for the checks that load nothing."""
    for name in ("original", "reference", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}", encoding="utf-8")
    for split in ("forget", "retain", "holdout"):
        lines = [f'{{"prompt": "{split} {i}?", "answer": "{split} {i}", "entity": "e{i}"}}\n' for i in range(3)]
        (tmp_path / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return tmp_path
