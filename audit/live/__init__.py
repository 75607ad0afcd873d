"""Asking the models of a run on request: as they are, changed inside, and while they are attacked."""

from __future__ import annotations

from audit.live.changed import COLUMNS, Live
from audit.live.models import Models, case_file_of

__all__ = ["COLUMNS", "Live", "Models", "case_file_of"]
