"""A finding as JSON and back: everything of it but its tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from audit.errors import StoreError
from audit.types import Chart, Estimate, Finding, Residual, Status


def finding_json(finding: Finding) -> dict[str, Any]:
    """Everything of a finding but its tables, as JSON can hold it."""

    def plain(value: Any) -> Any:
        return None if value is None else asdict(value)

    return {
        "id": finding.id,
        "place": finding.place,
        "status": str(finding.status),
        "reason": finding.reason,
        "note": finding.note,
        "null": finding.null,
        "settings": dict(finding.settings),
        "residual": plain(finding.residual),
        "candidate": _estimate(finding.candidate),
        "original": _estimate(finding.original),
        "reference": _estimate(finding.reference),
        "chart": plain(finding.chart),
        "seconds": round(finding.seconds, 3),
        "provenance": dict(finding.provenance),
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {**asdict(estimate), "null": estimate.null if math.isfinite(estimate.null) else None}


def finding_from(data: Mapping[str, Any], table: pd.DataFrame, items: pd.DataFrame) -> Finding:
    """A finding from its JSON and its tables; KeyError, TypeError, AttributeError or ValueError when damaged."""

    def estimate(name: str) -> Estimate | None:
        if not data[name]:
            return None
        null = data[name]["null"]
        return Estimate(**{**data[name], "null": math.nan if null is None else null})

    residual = data["residual"]
    chart: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["chart"].items()}
    return Finding(
        data["id"],
        Status(data["status"]),
        data["reason"],
        data["settings"],
        table,
        items,
        Chart(**chart),
        estimate("original"),
        estimate("candidate"),
        estimate("reference"),
        Residual(**{**residual, "quantiles": tuple(residual["quantiles"])}) if residual else None,
        data["seconds"],
        data["provenance"],
        data["place"],
        data["null"],
        data["note"],
    )


def outline(data: bytes) -> Finding:
    """A finding without its tables, from the bytes of its JSON: all that a verdict needs; StoreError when damaged."""
    try:
        return finding_from(json.loads(data), pd.DataFrame(), pd.DataFrame())
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(f"This is not a finding: {type(error).__name__} {error}.") from error
