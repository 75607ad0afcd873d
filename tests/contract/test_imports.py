"""What may be imported by whom: a fresh interpreter lists what it loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"torch", "transformers", "streamlit", "plotly", "sklearn", "scipy", "umap", "datasets", "peft", "pyarrow"}
HEAVY |= {"sqlalchemy", "alembic", "authlib", "psycopg"}
LIGHT = [
    "audit", "audit.types", "audit.errors", "audit.catalogue", "audit.stats", "audit.bench", "audit.store",
    "audit.policy", "audit.jobs", "audit.casefile", "audit.lab", "audit.run", "audit.cli", "audit.corpora.read",
    "audit.review.ledger", "audit.review.index",
]  # fmt: skip


@pytest.mark.parametrize("module", LIGHT)
def test_importing_is_light(module: str) -> None:
    code = f"import {module}, sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    # pandas looks for pyarrow by itself when it is installed.
    assert not set(done.stdout.split()) & (HEAVY - {"pyarrow"})


def test_audit_never_imports_streamlit() -> None:
    for path in (ROOT / "audit").rglob("*.py"):
        assert "import streamlit" not in path.read_text(), path


def test_no_page_imports_torch() -> None:
    for path in [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]:
        assert "import torch" not in path.read_text(), path
