"""A small dictionary on the tiny lab, trained once for all tests of this folder."""

from __future__ import annotations

from typing import Any

QUICK: dict[str, Any] = {"features": 256, "k": 8, "steps": 200}
