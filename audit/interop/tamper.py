"""EleutherAI's tamper attack: `tamper_results_<time>.json` and `step_<N>.json`, accuracies along a fine-tuning attack.

The tool writes 0.25, chance, where an evaluation is missing, and does not mark it; such points are named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from audit.errors import ResultsError
from audit.interop.document import Document
from audit.interop.names import named_by
from audit.interop.result import CurveRow, Metric, Result
from audit.interop.values import number, what_is, whole

TOOL = "tamper"
CURVES = ("wmdp_bio_acc", "cloze_correct_prob", "mmlu_acc")
STAND_IN = 0.25


def recognise(document: Document) -> str:
    """`curve`, `step`, or empty."""
    data = document.data
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    if "step" in first and set(first) & set(CURVES):
        return "curve"
    return "step" if isinstance(data, dict) and "wmdp_bio_acc" in data and len(data) <= 6 else ""


def convert(documents: Sequence[tuple[Document, str]]) -> list[Result]:
    """One result for each curve; single steps of a folder make a curve where there is none."""
    results, steps = [], dict[str, list[tuple[Document, dict[str, Any]]]]()
    for document, kind in documents:
        if kind == "curve":
            name = named_by(document.path.parent, document.root)
            results.append(_curve(name, [(document, point) for point in document.data]))
        else:
            match = re.search(r"step_?(\d+)", document.path.stem)
            if match is None:
                raise ResultsError(f"{document.path}: one evaluation without its step; expected a name step_<N>.json.")
            step = {"step": int(match[1]), **document.data}
            steps.setdefault(str(document.path.parent), []).append((document, step))
    for found in steps.values():
        first = found[0][0]
        results.append(_curve(named_by(first.path.parent.parent, first.root), found))
    return results


def _curve(name: str, points: Sequence[tuple[Document, dict[str, Any]]]) -> Result:
    files = tuple(dict.fromkeys(document.path for document, _ in points))
    by_step: dict[int, dict[str, Any]] = {}
    for place, (document, point) in enumerate(points):
        step = whole(point.get("step") if isinstance(point, dict) else None)
        if step is None:
            raise ResultsError(f"{document.path}, point {place}: no step.")
        if step in by_step:
            raise ResultsError(f"{document.path}, point {place}: step {step} stands twice.")
        by_step[step] = point
    metrics = [_metric(key, dict(sorted(by_step.items()))) for key in CURVES if any(key in p for p in by_step.values())]
    return Result(name, TOOL, "curve", files, tuple(metrics))


def _metric(key: str, points: dict[int, dict[str, Any]]) -> Metric:
    lines: list[CurveRow] = []
    for step, point in points.items():
        value, note = number(point.get(key)), ""
        if value is None:
            note = f"The file holds {what_is(point[key])}." if key in point else "Not evaluated at this step."
        elif key == "wmdp_bio_acc" and value == STAND_IN:
            note = "Exactly 0.25: the tool writes this too where an evaluation is missing."
        lines.append(CurveRow("candidate", step, key, math.nan if value is None else value, note))
    known = [line for line in lines if not line.note]  # a number in doubt is shown, and no headline rests on it
    if not known:
        doubtful = [line.note for line in lines if not math.isnan(line.value)]
        gap = doubtful[0] if doubtful else "No step holds a number."
        return Metric(f"{TOOL}.{key}", tuple(lines), gap=gap, kind=CurveRow)
    best = max(known, key=lambda line: line.value)
    doubts = sum(bool(line.note) for line in lines)
    told = (
        f"{key} goes from {known[0].value:.3f} at step {known[0].step} to {known[-1].value:.3f} at step "
        f"{known[-1].step}, at most {best.value:.3f} (step {best.step}). The tool attacks no model that never knew."
    )
    told += f" {doubts} of {len(lines)} points are missing or in doubt and not counted here." if doubts else ""
    return Metric(f"{TOOL}.{key}", tuple(lines), note=told, kind=CurveRow)
