"""The one place where an exception becomes a status."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from typing import Any

import pandas as pd

from audit.bench import Bench
from audit.catalogue import settings_of
from audit.errors import AuditError, Cancelled, NotApplicable, NotIdentifiable, StoreError
from audit.stats import ITEM_COLUMNS, conclude
from audit.subjects.modality import check_readable
from audit.subjects.systems.sight import hidden_from
from audit.types import Evidence, Finding, Reading, Status


def collect(id: str, evidence: Evidence, bench: Bench, provenance: Mapping[str, Any]) -> Finding:
    """Put the question and store whatever comes: a number, or the sentence why there is none.

    Cancelled and StoreError pass through: they end the run, not the evidence.
    """
    began = time.monotonic()
    log = ""
    try:
        for role in bench.roles:
            if reason := hidden_from(bench.case.subject(role), evidence.needs, bench.case.original):
                raise NotApplicable(reason)
        check_readable(evidence, bench.modality)
        if evidence.place != "utility":
            _ = bench.null  # without a control nothing is measured, however long it would take
        reading = evidence.measure(bench)
        return _measured(id, evidence, reading, provenance, time.monotonic() - began)
    except (Cancelled, StoreError):
        raise
    except NotApplicable as error:
        status, reason = Status.NOT_APPLICABLE, str(error)
    except NotIdentifiable as error:
        status, reason = Status.NOT_IDENTIFIABLE, str(error)
    except AuditError as error:
        status, reason, log = Status.FAILED, str(error), traceback.format_exc()
    except MemoryError:
        status, reason = Status.FAILED, "Out of memory: lower the batch size or audit on a larger machine."
    except Exception as error:  # the status keeps the run alive, the log keeps the cause
        status, reason, log = Status.FAILED, _unexpected(error), traceback.format_exc()
    return without_number(id, evidence, status, reason, provenance, time.monotonic() - began, log)


def without_number(
    id: str,
    evidence: Evidence,
    status: Status,
    reason: str,
    provenance: Mapping[str, Any],
    seconds: float = 0.0,
    log: str = "",
) -> Finding:
    """A finding that holds no number and says why."""
    return Finding(
        id,
        status,
        reason,
        settings_of(evidence),
        pd.DataFrame(columns=_columns(evidence)),
        pd.DataFrame(columns=ITEM_COLUMNS),
        evidence.chart,
        None,
        None,
        None,
        None,
        seconds,
        {**provenance, "traceback": log} if log else provenance,
        evidence.place,
    )


def _measured(id: str, evidence: Evidence, reading: Reading, provenance: Mapping[str, Any], seconds: float) -> Finding:
    conclusion = conclude(reading.panel)
    status = Status.NOT_IDENTIFIABLE if conclusion.residual is None else Status.MEASURED
    table = pd.DataFrame(list(reading.rows), columns=_columns(evidence))
    return Finding(
        id,
        status,
        conclusion.reason,
        settings_of(evidence),
        table,
        reading.panel.items(),
        evidence.chart,
        conclusion.original,
        conclusion.candidate,
        conclusion.reference,
        conclusion.residual,
        seconds,
        provenance,
        evidence.place,
        reading.panel.null,
        reading.note,
    )


def _columns(evidence: Evidence) -> list[str]:
    return list(evidence.row._fields)  # type: ignore[attr-defined]


def _unexpected(error: Exception) -> str:
    if "out of memory" in str(error).lower():
        return "Out of memory on the device: audit on a larger one, or shorten the items."
    return f"Unexpected {type(error).__name__}: {str(error)[:300]}. The run's log holds the details."
